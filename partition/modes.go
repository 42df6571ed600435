package partition

import "context"

// callHooks calls OnMode after each change of the mode.
func (p *Partition) callHooks(ctx context.Context) {
	was := Normal
	for mode := range p.outlook.modes.Watch(ctx) {
		if mode == was {
			continue
		}
		if p.cfg.OnMode != nil {
			p.cfg.OnMode(ctx, was, mode)
		}
		was = mode
	}
}

// allowsName tells whether no level of the present mode, or one below it, rests what is
// named.
func (p *Partition) allowsName(name string, rests func(Level, string) bool) bool {
	for m := Local; m <= p.outlook.modes.Get(); m++ {
		if rests(p.cfg.Levels[m], name) {
			return false
		}
	}
	return !rests(p.cfg.Levels[Normal], name)
}
