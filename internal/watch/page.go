package watch

// Page collects changes for one answer, in order. Of a key that has changed more than once
// the last change says all. The zero Page is empty.
type Page struct {
	Found []Found
	last  map[string]int // place of the last one of a key
}

// Found is a change on a page.
type Found struct {
	Entry
	Number     uint64
	Superseded bool // it need not be told: a later one of the key is on the page
}

// Add adds a change behind the others.
func (p *Page) Add(e *Entry, number uint64) {
	if p.last == nil {
		p.last = make(map[string]int)
	}
	if i, again := p.last[e.Key]; again {
		p.Found[i].Superseded = true
	}
	p.last[e.Key] = len(p.Found)
	p.Found = append(p.Found, Found{Entry: *e, Number: number})
}
