// Package chaos runs meshes as they run in the field: each node a process of
// its own in a network namespace of its own, behind one switch, on the real
// network stack and a real disk. It cuts and heals the switch, in one direction
// too, and pauses, kills and restarts processes, and tells from the outside who
// led meanwhile. It needs Linux, root, ip and
// nft; where one of them is missing New skips the test and says which.
//
// What it finds does not replay: that is what package sim is for. It shows that
// nothing between the tested cores and the wire breaks their promises.
package chaos
