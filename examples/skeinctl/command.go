package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

// command is one of the things that skeinctl can do.
type command struct {
	name  string
	args  string // names of its arguments, as its usage shows them
	short string
	long  string
	flags []func(*session, *flag.FlagSet) // besides those that all commands have
	run   func(*session) error
}

func commands() []command {
	return slices.Concat(meshCommands(), dataCommands(), topicCommands(), serviceCommands(), backupCommands(), []command{proveCommand()}, ownCommands())
}

// set are flags of a command.
type set = []func(*session, *flag.FlagSet)

// meshCommands look at a mesh.
func meshCommands() []command {
	return []command{
		{name: "init", short: "mint the secret of a new mesh", run: (*session).runInit, long: `
Mints a mesh secret and prints it or, with -secret-file, writes it to that
file, which must not exist yet and which only its owner may read. Every node
(mesh.Config.Secret, by identity.ParseSecret) and skeinctl need the same one.
Whoever holds it can join the mesh as any node.`},
		{name: "members", short: "who belongs to the mesh, and who is alive", run: (*session).runMembers, flags: set{(*session).nodeFlags}, long: `
Shows all members, dead or alive, as the node sees them, and what their programs
say of them by tags and capabilities. Times are by its clock.`},
		{name: "status", short: "how a node, its store and its part of the mesh are doing", run: (*session).runStatus, flags: set{(*session).nodeFlags}, long: `
Counts members by state, tells the node's own tags and capabilities, and of its
store: copies it keeps for
nodes that are down (hints), shards not known to be equal at their homes (syncing),
and what it did since it was opened. If the node opens a partition, who leads
which election, with the whole fencing token, and a drawing follow: whom it
reaches (the component) and whom not, links in doubt, whether the cloud is
reached, in what mode the node is, and whether the network seems to be cut and
what speaks for it. It is what this one node sees: on the other side of a cut
another one sees something else. -json says in verdicts what members that came
back went through, and in merges what was told of that.`},
		{name: "draw", short: "draw the mesh as a node sees it", run: (*session).runDraw, flags: set{(*session).nodeFlags, (*session).drawFlags}, long: `
Draws what status tells of components, leaders, links and the cloud as an SVG
image, which stands alone and is put out, or written to the file that -o names,
over what is in it. -json puts out {"svg": ...}, or with -o {"file": ...}.`},
		{name: "health", short: "what an operator should look at", run: (*session).runHealth, flags: set{(*session).nodeFlags, (*session).healthFlags}, long: `
Says in words what is wrong with the node's store and what to do about it, or
that all is well. It is what this one node knows: ask each of them. With -all a
line follows for each shard in which the store has a part. -json puts out each
problem with its kind, the nodes, counts and times that it is about, and its
words; a kind means the same in every release. The exit status is 4 if there are
problems.`},
		{name: "evict", args: "node", short: "give a member up for good", run: (*session).runEvict, flags: set{(*session).nodeFlags, (*session).evictFlags}, long: `
Gives up a member that will not come back: its copies are made anew from the
others, and nothing waits for it any more, deletes neither. What only its disk
held is lost with it. It must not be running. This cannot be taken back: should
it return, it is refused and has to start as a new node. The member is named as
members shows it, by name or id, and its name must be typed once more unless -yes
is given. A node that still runs is to leave instead: its program calls Leave.`},
	}
}

// dataCommands read and write buckets.
func dataCommands() []command {
	return []command{
		{name: "get", args: "key", short: "read a value", run: (*session).runGet,
			flags: set{(*session).nodeFlags, (*session).levelFlags, (*session).getFlags}, long: `
Prints the value as it is, without a line end. With -context the first line is
what the read has seen, for -context of put and del, and the value comes after
it; this line comes too when there is no value, which exits with 3. With -all
each of the concurrent values comes on a line of its own; -json keeps apart
those that have line ends in them.`},
		{name: "scan", short: "list keys and values in order", run: (*session).runScan,
			flags: set{(*session).nodeFlags, (*session).levelFlags, (*session).scanFlags}, long: `
Prints a line for each key: the key, a tab, the value. What is not plain text is
quoted as in Go. With -json each line is an object, whose cursor is for -after.
When stores are out of reach warnings say of how many shards keys may be
missing, and the exit status is 1. A long list needs a longer -timeout.`},
		{name: "watch", short: "print changes as they happen", run: (*session).runWatch,
			flags: set{(*session).nodeFlags, (*session).watchFlags}, long: `
Prints a line for each change: put, a tab, the key, a tab, the value; or delete or
expire, a tab, the key. What is not plain text is quoted as in Go. It ends with
-limit, or by Ctrl-C. A warning says when changes may be missing, because a node was
lost; what was missed follows. With -json each line is an object, whose cursor is for
-from; gaps, and their ends, are objects, too. The -timeout is for the connection.`},
		{name: "buckets", short: "list the buckets", run: (*session).runBuckets, flags: set{(*session).nodeFlags}, long: `
Prints a line for each bucket that the mesh knows, by name.`},
		{name: "export", short: "write keys and values as lines of JSON", run: (*session).runExport,
			flags: set{(*session).nodeFlags, (*session).levelFlags, (*session).exportFlags}, long: `
Writes what scan -json prints, for import. When stores are out of reach it writes
what it gets, says of how many shards keys may be missing, and exits with 1. With
-o the file is there as a whole or not at all. The -timeout is for a time without
any key. Deletes and what is left of a TTL are not in it, and values are in the
clear: it is no backup.`},
		{name: "import", short: "write the values that export has written", run: (*session).runImport,
			flags: set{(*session).nodeFlags, (*session).levelFlags, (*session).importFlags}, long: `
Reads standard input and writes each value under its key, as put does: what is
there is replaced, unless -missing is given. Of concurrent values the last writer's
is written. When it breaks off it says at which line; up to
15 lines before that one may have failed as well, and it may be done again as a
whole. The -timeout is for a time without any key.`},
		{name: "put", args: "key value", short: "write a value", run: (*session).runPut,
			flags: set{(*session).nodeFlags, (*session).levelFlags, (*session).writeFlags, (*session).putFlags}, long: `
Writes the value, or what comes in by standard input when it is "-". A key or a
value that begins with a dash goes behind "--". The bucket must be there: only
programs define buckets. A write that fewer stores hold than were asked for is
kept all the same; a warning tells.`},
		{name: "del", args: "key", short: "delete a value", run: (*session).runDelete,
			flags: set{(*session).nodeFlags, (*session).levelFlags, (*session).writeFlags}, long: `
Deletes the value. That there is none is no error.`},
	}
}

// ownCommands are about skeinctl itself.
func ownCommands() []command {
	return []command{
		{name: "version", short: "which release this is", run: (*session).runVersion, long: `
Prints the version of the module that skeinctl was built from, and of Go. Where it
was built in a checkout this is the commit.`},
		{name: "completion", short: "have bash complete commands and flags", run: (*session).runCompletion, long: `
Prints lines for bash, which complete the names of commands and flags:
  source <(skeinctl completion)`},
	}
}

func commandNamed(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

func (c command) usageLine() string {
	return strings.TrimSpace("skeinctl " + c.name + " [flags] " + c.args)
}

func printHelp(w io.Writer) {
	fmt.Fprintf(w, "skeinctl looks into a running mesh through one of its nodes.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.short)
	}
	fmt.Fprintf(w, `
The node's program must allow it: mesh.Config.AllowAdmin. The address and the
file of the mesh secret may stand in SKEIN_ADDR and SKEIN_SECRET_FILE.
"skeinctl command -h" explains a command's flags and arguments.

Exit status: 0 done, 1 failed, 2 not understood, 3 no value under the key,
4 problems were found, and are told.
`)
}

// session is one run of a command.
type session struct {
	command
	in       io.Reader
	out, err io.Writer
	words    []string // arguments

	addr, secretFile, meshName string
	shards                     int
	timeout                    time.Duration
	json                       bool

	bucket, level, seen string
	file                string
	all, showContext    bool
	yes, missing        bool
	ttl                 time.Duration
	scan                replica.ScanOptions
	watch               replica.WatchOptions

	backups backupOptions
	prove   proveOptions
	given   []string // flags of the command line

	service      string
	perComponent bool
	since        time.Duration
	limit        int

	anyBucket  bool   // none needs to be named
	patient    bool   // -timeout bounds the time without progress, not the whole
	endless    bool   // -timeout bounds the time until the first call of extendTime
	extendTime func() // tells of progress, if patient or endless
}

// usageError is a command line that makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }

// parseArgs reads the flags and arguments of the command, in any order.
func (s *session) parseArgs(args []string) error {
	fs := s.newFlagSet()
	for {
		err := fs.Parse(args)
		if err == flag.ErrHelp {
			fmt.Fprintf(s.out, "usage: %s\n%s\n\nflags:\n", s.usageLine(), s.long)
			fs.SetOutput(s.out)
			fs.PrintDefaults()
			return err
		}
		if err != nil {
			return usageError(err.Error())
		}
		rest := fs.Args()
		if read := len(args) - len(rest); len(rest) == 0 || read > 0 && args[read-1] == "--" {
			s.words = append(s.words, rest...)
			break
		}
		s.words, args = append(s.words, rest[0]), rest[1:]
	}
	if want := strings.Fields(s.command.args); len(s.words) != len(want) {
		return usageError(fmt.Sprintf("takes %s, got %d", countNoun(len(want), "argument"), len(s.words)))
	}
	return s.checkFlags(fs)
}

// newFlagSet returns the flags of the command, which set the session's fields.
func (s *session) newFlagSet() *flag.FlagSet {
	fs := flag.NewFlagSet(s.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.secretFile, "secret-file", os.Getenv("SKEIN_SECRET_FILE"), "`file` with the mesh secret (SKEIN_SECRET_FILE)")
	fs.BoolVar(&s.json, "json", false, "print JSON: one object, or one a line of scan, watch, subscribe and export")
	for _, define := range s.flags {
		define(s, fs)
	}
	return fs
}

func (s *session) checkFlags(fs *flag.FlagSet) error {
	asksNode := s.addr != "" && (s.name != "backup" || s.words[0] == "now" || s.words[0] == "status") && !s.prove.verify
	fs.Visit(func(f *flag.Flag) { s.given = append(s.given, f.Name) })
	switch {
	case s.timeout < 0 || s.timeout == 0 && asksNode:
		return usageError("-timeout must be more than 0")
	case s.shards < 0:
		return usageError("-shards must not be negative")
	case asksNode && s.secretFile == "":
		return usageError("no mesh secret: name its file with -secret-file or SKEIN_SECRET_FILE")
	case s.since < 0 || s.limit < 0:
		return usageError("-since and -limit must not be negative")
	case fs.Lookup("bucket") != nil && s.bucket == "" && !s.anyBucket:
		return usageError("no -bucket")
	}
	return nil
}

func (s *session) nodeFlags(fs *flag.FlagSet) {
	addr := cmp.Or(os.Getenv("SKEIN_ADDR"), fmt.Sprintf("127.0.0.1:%d", mesh.DefaultPort))
	fs.StringVar(&s.addr, "addr", addr, "`host:port` of a node that allows admin requests (SKEIN_ADDR)")
	fs.StringVar(&s.meshName, "mesh", "", "`name` of the mesh (mesh.Config.MeshName)")
	fs.IntVar(&s.shards, "shards", 0, "`number` of shards of the mesh (mesh.Config.Shards); 0: the default of the library")
	fs.DurationVar(&s.timeout, "timeout", cmp.Or(s.timeout, 5*time.Second), "how `long` it may take in all; export and import: without getting on; watch, subscribe, backup now: to connect; restore: a page")
}

// levelFlags are those of all that reads or writes a bucket.
func (s *session) levelFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.bucket, "bucket", "", "`name` of the bucket")
	fs.StringVar(&s.level, "level", "", "how many `stores` take part: one, quorum (more than half of the homes) or a number (default 2)")
}

func (s *session) evictFlags(fs *flag.FlagSet) {
	fs.BoolVar(&s.yes, "yes", false, "do not ask again")
}

func (s *session) healthFlags(fs *flag.FlagSet) {
	fs.BoolVar(&s.all, "all", false, "also print a line for each shard")
}

func (s *session) drawFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.file, "o", "", "`file` to write the image to; none: standard output")
}

func (s *session) getFlags(fs *flag.FlagSet) {
	fs.BoolVar(&s.all, "all", false, "print all concurrent values")
	fs.BoolVar(&s.showContext, "context", false, "print the context on a line before the value")
}

func (s *session) writeFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.seen, "context", "", "`context` that get -context printed: replace exactly what it has seen")
}

func (s *session) putFlags(fs *flag.FlagSet) {
	fs.DurationVar(&s.ttl, "ttl", 0, "after what `time` the value reads as deleted; 0: never")
}
