// Package watch decides how the changes of a bucket's keys are followed at many stores:
// whom to ask for the changes of which shards, when a source is silent and who takes its
// place, what must be made good by reading the shards anew, and what of all that comes is
// new to the watcher.
//
// A store keeps its last changes, in the order of its commits, in a Ring, and answers from
// a Position with what came behind it, which it collects in a Page. Of each shard one home at a time is followed, the
// acting home. Every home gets every write sooner or later, so one is enough; and one
// home's record of a key only ever grows, so what comes from one home never goes backwards.
//
//	what happens to the source of a shard      what the watch does
//	-----------------------------------------  -----------------------------------------
//	it answers, be it with nothing             goes on from the position it tells
//	it is silent, or fails, for three beats    tells a gap, follows another home, and
//	                                           reads the shard anew (a fill)
//	it is back before there was another one    goes on from where it was, without a fill
//	it has forgotten what comes next, or was   tells a gap and reads the shard anew
//	restarted
//	it has forgotten what comes next although  ends: whoever watches is too slow
//	it was never out of reach
//	it is no home any more, or tells nothing   tells a gap, follows another home, and
//	of a shard for now                         reads the shard anew
//	records went from it without a delete      tells a gap and reads the shard anew
//
// A fill begins after the source has told its position, and it reads the source among
// others. So whatever the fill does not come across comes from the source afterwards. A
// shard is current again when a fill has read it whole: enough homes to know that a key
// does not exist, and the source from the first key to the last. A beat
// passes between two fills of a shard.
//
// Where two sources speak of one key, Notes tell what is new: a state is told if it has
// seen a write that no state told before had seen, or all that the last one told had seen
// and more. Notes are kept of the keys told last, so many at most. Of a key that was
// forgotten whatever a fill comes across is told again.
//
// Watches of one node may have a store asked for them together: a Relay decides whose polls
// are answered from what has come.
//
// The caller's duties. It carries out Polls and Fills after each event. It reports of each
// poll either Answered, once it has told all that came, or Failed, and takes only records
// of shards for which Follows holds. It reports each fill as Filled, after it has read by
// itself what Sweep returns. It calls Replan when who may be followed has changed. It tells
// Marks before the next change, and ends when IsTooSlow says so.
package watch
