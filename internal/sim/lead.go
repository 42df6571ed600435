package sim

import (
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// leads are the elections of keys, as writers see them: some lead no more and do not know
// it, and some show no token at all.
type leads struct {
	terms  map[string]uint64
	acked  map[string]token.Token // the highest that was acknowledged on more than half of the homes
	former int                    // writes of a former leader that were refused
}

// nextToken is the token of the next write of a key.
func (l *leads) nextToken(w *World, key string) token.Token {
	if w.Chance(0.2) || l.terms[key] == 0 {
		l.terms[key]++
	}
	term := l.terms[key]
	switch {
	case w.Chance(0.1):
		return token.Token{}
	case w.Chance(0.4):
		term = max(term-1, 1)
	}
	return token.Token{Term: term, Node: view.NodeID(1 + term%3)}
}

// noteFencedAck: a client was told what became of its write, which showed a token when high
// was the highest that was acknowledged on more than half of the homes. Property F1.25: if
// it was acknowledged on so many as well, its own is no lower: they have a home in common.
func (l *leads) noteFencedAck(c *Cluster, p *putRequest, high token.Token, r replicate.Result) {
	if r.Homes <= c.Homes/2 {
		return
	}
	if p.Write.Token.Less(high) {
		c.World.Fail("F1.25: %s is acknowledged with token %v after %v", p.Key, p.Write.Token, high)
	}
	if l.acked[p.Key].Less(p.Write.Token) {
		l.acked[p.Key] = p.Write.Token
	}
}

// checkTokens: a write replaces what it has seen. Property F1.25: nothing of that has a
// higher token. A purge forgets tokens.
func (o *Oracle) checkTokens(p *putRequest, d version.Dot, seen version.Context) {
	for e, w := range o.writes {
		if w.key == p.Key && e != d && seen.Covers(e) && p.Write.Token.Less(w.sib.Token) && !o.purgedContexts[p.Key].Covers(e) && !w.moved {
			o.cluster.World.Fail("F1.25: %v of %s with token %v replaces %v with %v", d, p.Key, p.Write.Token, e, w.sib.Token)
		}
	}
}

// checkFence: an item tells the highest token of all that it knows of.
func (o *Oracle) checkFence(key string, it version.Item) {
	high := it.Fence()
	for d, w := range o.writes {
		if w.key == key && it.Ctx.Covers(d) && high.Less(w.sib.Token) && !o.purgedContexts[key].Covers(d) && !w.moved {
			o.cluster.World.Fail("F1.25: the fence of %s is %v, and %v was written with %v", key, high, d, w.sib.Token)
		}
	}
}
