// Package stage is what the examples share that tell a story with several nodes: a process
// for each, which is the example's own program; talk with it in lines of JSON over its standard
// input and output; a network between them that can be cut; and a narrator.
//
// The parent makes Roles by CastRoles and starts each by StartProcess. A program that is
// started with -node plays that role: it reads it by ParseRole and answers by a Line.
package stage
