package main

// system is a way to run a peer's binary.
type system struct {
	name string
	peer string // directory under peers/
	args []string
	// optional systems may be absent from a host without failing the run.
	optional bool
}

// systems lists all that can be measured, in the order they are started.
//
// Olric is asked for the fair counterpart of both figures it appears in: three
// copies, every put written synchronously to all of them and refused below two;
// gets need two versions that answer. (Its ReadQuorum of 1 would not be any
// cheaper: v0.5.7 asks every copy whenever ReadQuorum is at least 1, see
// getOnCluster in internal/dmap/get.go.)
func systems() []system {
	return []system{
		{name: "skein", peer: "skein"},
		{name: "nats-sync", peer: "nats", args: []string{"-sync-always"}},
		{name: "nats", peer: "nats"},
		{name: "olric", peer: "olric", args: []string{"-read-quorum", "2"}},
		{name: "redis", peer: "redis", optional: true},
		{name: "raw", peer: "raw"},
	}
}

func systemNamed(name string) (system, bool) {
	for _, s := range systems() {
		if s.name == name {
			return s, true
		}
	}
	return system{}, false
}
