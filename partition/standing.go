package partition

import (
	"context"
	"reflect"
	"slices"

	"github.com/skeinmesh/skein/partition/token"
)

// Standing returns who leads an election, and who stands for it in the component, as Status
// tells it. Nobody may change what it returns.
func (p *Partition) Standing(election Election) (leader token.Token, candidates []token.Candidate) {
	all := p.outlook.status.Get().Elections
	if i := slices.IndexFunc(all, func(l Leadership) bool { return l.Election == election }); i >= 0 {
		return all[i].Token, all[i].Candidates
	}
	return token.Token{}, nil
}

// WatchStanding returns a channel that carries a value at once, and after each change of what
// Standing returns for any election; changes before one is received are one. It is closed when
// ctx ends or the Partition is closed.
func (p *Partition) WatchStanding(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	watch := func(open context.Context) {
		defer close(changed)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(open, cancel)()
		var last []Leadership
		for st := range p.outlook.status.Watch(ctx) {
			if last != nil && reflect.DeepEqual(last, st.Elections) {
				continue
			}
			last = st.Elections
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
	if !p.group.Go(watch) {
		close(changed)
	}
	return changed
}
