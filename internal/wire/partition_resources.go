package wire

import "time"

// NoBattery stands for the charge of a machine that has no battery, or does not tell.
const NoBattery = 101

// Resources are what a node tells of its machine. What is not known is zero.
type Resources struct {
	Score                uint64
	CPU, FreeCPU         uint64 // thousandths of a core
	Memory, FreeMemory   uint64 // bytes
	Storage, FreeStorage uint64 // bytes
	Mains                bool
	Battery              int           // percent, or NoBattery
	Uptime               time.Duration // whole milliseconds
}

func (r *Resources) codeFields(c *codec) {
	c.codeVersion(partitionVersion)
	for _, n := range []*uint64{&r.Score, &r.CPU, &r.FreeCPU, &r.Memory, &r.FreeMemory, &r.Storage, &r.FreeStorage} {
		c.codeNumber(n)
	}
	c.codeFlag(&r.Mains)
	codeBounded(c, &r.Battery, NoBattery)
	c.codeMillis(&r.Uptime)
}

// AppendResources appends the encoding of r.
func AppendResources(dst []byte, r Resources) []byte {
	return appendFields(dst, &r, (*Resources).codeFields)
}

// DecodeResources reads what AppendResources wrote.
func DecodeResources(data []byte) (Resources, error) {
	return readFields(data, "resources", (*Resources).codeFields)
}
