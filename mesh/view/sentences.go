package view

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// ProblemInWords is what a node of an early release tells, which has sentences only.
const ProblemInWords ProblemKind = "in-words"

// What keeps a node from others.
const (
	ProblemSeedUnknown ProblemKind = "seed-unknown" // Where: the seed
	ProblemNobodyMet   ProblemKind = "nobody-met"   // Where: the seeds
	ProblemStranger    ProblemKind = "stranger"     // Where: the address
	ProblemStrangeSeed ProblemKind = "strange-seed" // Where: the address
	ProblemNotLetIn    ProblemKind = "not-let-in"
	ProblemMadeUp      ProblemKind = "gone-made-up"
	ProblemNarrowPath  ProblemKind = "narrow-path" // Where: the address; Nodes: who is there; Bytes: of a packet that is too large
	ProblemMeshFull    ProblemKind = "mesh-full"   // Count: of members
	ProblemMeshWorn    ProblemKind = "mesh-worn"   // Count: of nodes that are gone
	ProblemTagsUnheard ProblemKind = "tags-unheard"
)

// What is the matter with a store.
const (
	ProblemDiskFailed         ProblemKind = "disk-failed"
	ProblemDiskFull           ProblemKind = "disk-full"
	ProblemFilesDamaged       ProblemKind = "files-damaged" // Count: of files
	ProblemPartsLost          ProblemKind = "parts-lost"    // Count: of parts of the disk
	ProblemHintsLost          ProblemKind = "hints-lost"    // Count: of copies
	ProblemDiskUnread         ProblemKind = "disk-unread"
	ProblemClockOff           ProblemKind = "clock-off"            // For: by which it is ahead, or negative
	ProblemClocksApart        ProblemKind = "clocks-apart"         // For: by which it is ahead, or negative
	ProblemDatesAhead         ProblemKind = "dates-ahead"          // For: by which the last date is ahead of the clock
	ProblemLeaving            ProblemKind = "leaving"              // Shards: to hand over; Count: of copies for others
	ProblemFormerRefused      ProblemKind = "former-refused"       // Where: the directory; Text: the file in it that lists them; Count: of records
	ProblemFormerUnread       ProblemKind = "former-unread"        // Where: the directory; Text: the file in it that lists them; Count: of records
	ProblemFormerKept         ProblemKind = "former-kept"          // Where: the directory
	ProblemFormerWaits        ProblemKind = "former-waits"         // Where: the directory; Count: of shards that are taken in, Of: all
	ProblemFormerOutboxKept   ProblemKind = "former-outbox-kept"   // Where: the directory
	ProblemFormerOutboxWaits  ProblemKind = "former-outbox-waits"  // Where: the directory
	ProblemFormerOutboxUnread ProblemKind = "former-outbox-unread" // Where: the directory; Count: of operations
	ProblemFewCopies          ProblemKind = "few-copies"           // Shards; Nodes, Cut, Silent: whose copies are missed; For: after which others are made
	ProblemFewCopiesKept      ProblemKind = "few-copies-kept"      // the same, but others are never made
	ProblemFewCopiesMinority  ProblemKind = "few-copies-minority"  // the same, but Count of Of storing nodes are too few to make others
	ProblemCut                ProblemKind = "cut"                  // Nodes
	ProblemSilent             ProblemKind = "silent"               // Nodes
	ProblemSilentAlone        ProblemKind = "silent-alone"         // Nodes
	ProblemReached            ProblemKind = "reached-by-others"    // Nodes: who is down as seen from here; By: who reaches it
	ProblemUnconfirmed        ProblemKind = "unconfirmed"          // Nodes: who is down; Count of Of nodes confirm that
	ProblemLost               ProblemKind = "lost"                 // Nodes
	ProblemSyncing            ProblemKind = "syncing"              // Shards
	ProblemPurgeBlocked       ProblemKind = "purge-blocked"        // Nodes: who is missing; For; Bytes
	ProblemExpiredKept        ProblemKind = "expired-kept"         // Count: of records; Bytes; For
	ProblemSetAside           ProblemKind = "set-aside"            // Count: of records
	ProblemOutboxWaits        ProblemKind = "outbox-waits"         // Count: of writes; Bytes; For: the oldest
	ProblemOutboxDropped      ProblemKind = "outbox-dropped"       // Count: of writes
)

// meshSentences are what View.Problems may say.
var meshSentences = map[ProblemKind]func(Problem) string{
	ProblemSeedUnknown: func(p Problem) string {
		return fmt.Sprintf("no other node was ever met: the seed %s is not found (%s)", p.firstPlace(), p.Text)
	},
	ProblemNobodyMet: func(p Problem) string {
		return fmt.Sprintf("no other node was ever met: no node of this mesh answers at the seeds %s", strings.Join(p.Where, ", "))
	},
	ProblemStranger: func(p Problem) string {
		return fmt.Sprintf("a node that dials from %s does not belong to this mesh: Secret, MeshName and Shards must be the same on all nodes", p.firstPlace())
	},
	ProblemStrangeSeed: func(p Problem) string {
		return fmt.Sprintf("the node at %s does not belong to this mesh: Secret, MeshName and Shards must be the same on all nodes", p.firstPlace())
	},
	ProblemNotLetIn: func(Problem) string {
		return "this node is not let in, for the mesh is full: evict members that will not come back, at a node that is in; this one then gets in by itself"
	},
	ProblemMadeUp: func(Problem) string {
		return "members say of tens of thousands of nodes, unknown here, that they are gone, and this node takes in no more of that before it is started again: unless the mesh has had as many, a member is faulty"
	},
	ProblemNarrowPath: func(p Problem) string {
		return fmt.Sprintf("large packets to %s do not arrive, and small ones do: the MTU of the path is smaller than %d bytes and nothing on the way says so; let ICMP through, or lower the MTU of the interfaces at both ends", p.hostText(), p.Bytes)
	},
	ProblemMeshFull: func(p Problem) string {
		return fmt.Sprintf("the mesh is full, with %d members, and takes in no new ones: evict those that will not come back", p.Count)
	},
	ProblemMeshWorn: func(p Problem) string {
		return fmt.Sprintf("the mesh has had %d nodes that are gone for good, and can remember no more of them: it takes in no new ones; set up another, with a new secret", p.Count)
	},
	ProblemTagsUnheard: func(Problem) string {
		return "a member has made up tags of this node under the last number there is: others take in no others of it before it is started again; that member is faulty"
	},
}

// storeSentences are what the health of a store may say beside that.
var storeSentences = map[ProblemKind]func(Problem) string{
	ProblemDiskFailed: func(p Problem) string {
		return fmt.Sprintf("the disk has failed, nothing is written here any more: replace it and start the node with an empty directory under the same name (%s)", p.Text)
	},
	ProblemDiskFull: func(Problem) string {
		return "the disk is full, writes are refused here while reads go on, and deletes as long as there is room to note them: delete what is not needed, make room, or take the node out of service"
	},
	ProblemFilesDamaged: func(p Problem) string {
		return fmt.Sprintf("%d files of the store are damaged and cannot be mended here, what reads is served: start the node with an empty directory under the same name, the other nodes will fill it", p.Count)
	},
	ProblemPartsLost: func(p Problem) string {
		return fmt.Sprintf("%d parts of the disk did not read and were given up, their other homes bring the records back: replace the disk if that happens again; what had no other home is lost", p.Count)
	},
	ProblemHintsLost: func(p Problem) string {
		return fmt.Sprintf("%d copies kept for nodes that were down are among them", p.Count)
	},
	ProblemDiskUnread: func(Problem) string {
		return "a part of the disk does not read just now, so not all that lies here was counted: look again in a minute"
	},
	ProblemClockOff: func(p Problem) string {
		return fmt.Sprintf("the clock is %v %s those of the other nodes, which count here as long as that is so: set it right", p.For.Abs(), p.clockDirection())
	},
	ProblemClocksApart: func(p Problem) string {
		return fmt.Sprintf("the clock is %v %s that of the other node, and no third one tells which of them is wrong: set the wrong one right", p.For.Abs(), p.clockDirection())
	},
	ProblemDatesAhead: func(p Problem) string {
		return fmt.Sprintf("what was written here is dated up to %v ahead of the clock, which was wrong then or is now: until that is known values with a TTL live so much longer, and those written then do in any case", p.For)
	},
	ProblemLeaving: func(p Problem) string {
		return fmt.Sprintf("this node is leaving for good and has %d shards still to hand over, %d copies for others among them: have it leave again if nobody waits for that", p.Shards, p.Count)
	},
	ProblemFormerRefused: func(p Problem) string {
		return fmt.Sprintf("%d records in %s are not taken in: they may have been deleted, and nobody remembers that far back. %s there lists them; write anew what is missed, then remove the directory", p.Count, p.firstPlace(), p.Text)
	},
	ProblemFormerUnread: func(p Problem) string {
		return fmt.Sprintf("%d records in %s do not read and are not taken in; %s there lists them", p.Count, p.firstPlace(), p.Text)
	},
	ProblemFormerKept: func(p Problem) string {
		return fmt.Sprintf("what a former identity of this node has left in %s is not taken in: %s", p.firstPlace(), p.Text)
	},
	ProblemFormerWaits: func(p Problem) string {
		return fmt.Sprintf("of what a former identity of this node has left in %s, %d of %d shards are taken in; the rest has to wait: %s", p.firstPlace(), p.Count, p.Of, p.Text)
	},
	ProblemFormerOutboxKept: func(p Problem) string {
		return fmt.Sprintf("what waits in the outbox of a former identity of this node, %s, is not delivered: %s", p.firstPlace(), p.Text)
	},
	ProblemFormerOutboxWaits: func(p Problem) string {
		return fmt.Sprintf("what waits in the outbox of a former identity of this node, %s, is not delivered yet: %s", p.firstPlace(), p.Text)
	},
	ProblemFormerOutboxUnread: func(p Problem) string {
		return fmt.Sprintf("%d operations in %s do not read and are not delivered", p.Count, p.firstPlace())
	},
	ProblemFewCopies: func(p Problem) string {
		return fmt.Sprintf("%d shards have fewer copies in contact than they should, %s; after %v copies are made elsewhere", p.Shards, p.missing(), p.For)
	},
	ProblemFewCopiesKept: func(p Problem) string {
		return fmt.Sprintf("%d shards have fewer copies in contact than they should, %s; HealAfter says never to make them elsewhere", p.Shards, p.missing())
	},
	ProblemFewCopiesMinority: func(p Problem) string {
		return fmt.Sprintf("%d shards have fewer copies in contact than they should, %s; none are made elsewhere, for only %d of %d storing nodes are in contact: mend the network, or force this side to heal (ForceHeal)", p.Shards, p.missing(), p.Count, p.Of)
	},
	ProblemCut: func(p Problem) string {
		return fmt.Sprintf("%s cannot be reached from here, but others say that it lives: mend the link between it and this node", joinNames(p.Nodes))
	},
	ProblemSilent: func(p Problem) string {
		return fmt.Sprintf("%s does not answer since a moment ago: whether it is down, or the link between it and this node, will be known soon", joinNames(p.Nodes))
	},
	ProblemSilentAlone: func(p Problem) string {
		return fmt.Sprintf("%s does not answer, and nobody else is there to say whether it lives: see whether it runs, and whether the link between it and this node works", joinNames(p.Nodes))
	},
	ProblemReached: func(p Problem) string {
		return fmt.Sprintf("%s is down as seen from here, but %d others reach it: mend the link between it and this node (%s can be reached from both); no copies are made in its place", joinNames(p.Nodes), len(p.By), joinNames(p.By))
	},
	ProblemUnconfirmed: func(p Problem) string {
		return fmt.Sprintf("%s is down, but only %d of the %d nodes that must have failed to reach it could confirm that: no copies are made in its place before", joinNames(p.Nodes), p.Count, p.Of)
	},
	ProblemLost: func(p Problem) string {
		return fmt.Sprintf("%s was down for so long that other nodes make the copies it held: bring it back, or evict it if it will not return", joinNames(p.Nodes))
	},
	ProblemSyncing: func(p Problem) string {
		return fmt.Sprintf("%d shards are catching up here: take no other node out before that is done", p.Shards)
	},
	ProblemPurgeBlocked: func(p Problem) string {
		return fmt.Sprintf("deletes cannot be forgotten for %v and take %d bytes: bring %s back, or evict what will not return", p.For.Round(time.Hour), p.Bytes, joinNames(p.Nodes))
	},
	ProblemExpiredKept: func(p Problem) string {
		return fmt.Sprintf("%d records whose TTL has ended have kept their %d bytes for %v, as too few other stores vouch for the clock here: set the clocks right, or bring those stores back", p.Count, p.Bytes, p.For.Truncate(time.Minute))
	},
	ProblemSetAside: func(p Problem) string {
		return fmt.Sprintf("%d records were set aside: they are older than anybody's memory of what was deleted", p.Count)
	},
	ProblemOutboxWaits: func(p Problem) string {
		return fmt.Sprintf("%d writes of %d bytes wait in the outbox of this node, on no other disk, the oldest for %v: %s", p.Count, p.Bytes, p.For.Round(time.Second), cmp.Or(p.Text, "they are being delivered"))
	},
	ProblemOutboxDropped: func(p Problem) string {
		return fmt.Sprintf("%d writes that waited here were given up, for age or for lack of room", p.Count)
	},
}

// hostText is an address with the names of those that are there.
func (p Problem) hostText() string {
	out := p.firstPlace()
	for _, n := range p.Nodes {
		out += " (" + n.Name + ")"
	}
	return out
}

// clockDirection is how a clock is off.
func (p Problem) clockDirection() string {
	if p.For < 0 {
		return "behind"
	}
	return "ahead of"
}

// missing says what is the matter with nodes that are not in contact. One that others
// reach is not down: it is there, through them.
func (p Problem) missing() string {
	var out []string
	if len(p.Nodes) > 0 {
		out = append(out, joinNames(p.Nodes)+" is down: bring it back")
	}
	if len(p.Cut) > 0 {
		out = append(out, "others reach "+joinNames(p.Cut)+" and this node does not: mend the link between them, or open the port of one where both are behind NAT")
	}
	if len(p.Silent) > 0 {
		out = append(out, joinNames(p.Silent)+" does not answer")
	}
	return strings.Join(out, ", ")
}
