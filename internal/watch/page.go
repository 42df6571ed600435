package watch

// Page collects changes for one answer, in order. Of a key that has changed more than once
// the last change says all. The zero Page is empty.
type Page struct {
	Found []Found
	last  map[string]int // place of the last one of a key; nil on a small page
}

// Found is a change on a page.
type Found struct {
	Entry
	Number     uint64
	Superseded bool // it need not be told: a later one of the key is on the page
}

// Add adds a change behind the others.
func (p *Page) Add(e *Entry, number uint64) {
	if i, again := p.findLast(e.Key); again {
		p.Found[i].Superseded = true
	}
	if p.last != nil {
		p.last[e.Key] = len(p.Found)
	}
	p.Found = append(p.Found, Found{Entry: *e, Number: number})
}

// smallPage is up to how many changes are looked through one by one.
const smallPage = 8

func (p *Page) findLast(key string) (i int, found bool) {
	if p.last == nil && len(p.Found) < smallPage {
		for i = len(p.Found) - 1; i >= 0 && p.Found[i].Key != key; i-- {
		}
		return i, i >= 0
	}
	if p.last == nil {
		p.last = make(map[string]int, 2*smallPage)
		for i := range p.Found {
			p.last[p.Found[i].Key] = i
		}
	}
	i, found = p.last[key]
	return i, found
}
