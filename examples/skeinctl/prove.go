package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/skeinmesh/skein/backup/ledger"
	"github.com/skeinmesh/skein/mesh"
)

// proveOptions are the flags of prove.
type proveOptions struct {
	verify    bool
	trust     ledger.Trust
	trustFile string
}

// maxProofFile is how much is read of a proof, or of keys.
const maxProofFile = 1 << 20

// proveCommand proves what keys hold, and verifies such proofs.
func proveCommand() command {
	return command{name: "prove", args: "key|file", short: "prove what a key holds, or verify a proof", run: runProve,
		flags: set{(*session).nodeFlags, proveFlags}, long: `
Has a node prove that what a key of the -bucket holds, or that it was deleted, is in
the log of the node that has coordinated the write, and prints the proof, or writes
it to the file that -o names. The proof is in the form of C2SP's tlog-proof. Beside
it the public keys of the log and of the node that is asked are told: whoever is to
verify needs them from somebody whom he believes. The exit status is 3 when the key
is not known or the write is in no log, or not yet. The node's program must have
called Ledger.HandleAdmin with the bucket.
With -verify it asks no node: it checks the proof in that file, or, if it names
a directory, a whole log that is kept there, by the keys that -log, -witness
and -trust name, and tells what they show. The exit status is 4 if they do not.
Compare the sum with that of the value (sha256sum); zeros stand for a delete.
  skeinctl prove -bucket readings -o press.proof press-1/temperature
  skeinctl prove --verify -trust keys.txt press.proof`}
}

func proveFlags(s *session, fs *flag.FlagSet) {
	o := &s.prove
	s.anyBucket = true
	fs.StringVar(&s.bucket, "bucket", "", "`name` of the bucket")
	fs.StringVar(&s.file, "o", "", "`file` to write the proof to; none: standard output")
	fs.BoolVar(&o.verify, "verify", false, "verify a proof, or a whole log")
	fs.StringVar(&o.trust.Log, "log", "", "verify: public `key` of the log")
	fs.Func("witness", "verify: public `key` of a peer that cosigns; more than once for several", func(key string) error {
		o.trust.Witnesses = append(o.trust.Witnesses, key)
		return nil
	})
	fs.IntVar(&o.trust.Quorum, "quorum", 0, "verify: how `many` of them must have cosigned")
	fs.StringVar(&o.trustFile, "trust", "", `verify: `+"`file`"+` with lines "log KEY", "witness KEY" and "quorum N", which count beside the flags`)
}

func runProve(s *session) error {
	if s.prove.verify {
		return verifyProof(s)
	}
	if err := checkMeant(s, "bucket o addr mesh shards timeout json secret-file"); err != nil {
		return err
	}
	if s.bucket == "" {
		return usageError("no -bucket")
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		c := ledger.NewClient(node)
		log, cosign, err := c.Keys(ctx)
		if err != nil {
			return err
		}
		got, err := c.ProveKey(ctx, s.bucket, s.words[0])
		if errors.Is(err, ledger.ErrNotFound) {
			return fmt.Errorf("%w: %w", errNoValue, err)
		}
		if err != nil {
			return err
		}
		return showProof(s, got, log, cosign)
	})
}

// proofJSON is what prove prints.
type proofJSON struct {
	Proof  string     `json:"proof,omitempty"`
	File   string     `json:"file,omitempty"`
	Node   string     `json:"node"` // whose log it is of
	Log    string     `json:"log"`
	Proven provenJSON `json:"proven"`
	Asked  struct {
		Log    string `json:"log"`
		Cosign string `json:"cosign"`
	} `json:"asked"` // keys of the node that was asked
}

// showProof prints a proof, or writes it to a file and tells about it.
func showProof(s *session, got ledger.KeyProof, log, cosign string) error {
	out := proofJSON{Proof: string(got.Proof), Node: got.Node.String(), Log: got.Log, Proven: newProvenJSON(got.Proven)}
	out.Asked.Log, out.Asked.Cosign = log, cosign
	if s.file != "" {
		if err := os.WriteFile(s.file, got.Proof, 0o644); err != nil {
			return err
		}
		out.Proof, out.File = "", s.file
	}
	switch {
	case s.json:
		return s.printJSON(out)
	case s.file == "":
		_, err := s.out.Write(got.Proof)
		return err
	}
	_, err := fmt.Fprintf(s.out, "leaf %d of %d proven by node %v to %s\nlog %s\nthe node that was asked:\nlog %s\nwitness %s\n",
		got.Proven.Index, got.Proven.Size, got.Node, cleanLine(s.file), cleanLine(got.Log), cleanLine(log), cleanLine(cosign))
	return err
}

// provenJSON is what a proof shows.
type provenJSON struct {
	Kind     string         `json:"kind"`
	Bucket   string         `json:"bucket"`
	Key      string         `json:"key"`
	Version  string         `json:"version,omitempty"`
	Sum      string         `json:"sum"`
	At       time.Time      `json:"at"` // by the clock of the log's node
	Index    int64          `json:"index"`
	Size     int64          `json:"size"` // leaves of the log
	Cosigned []cosignedJSON `json:"cosigned"`
}

type cosignedJSON struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

func newProvenJSON(p ledger.Proven) provenJSON {
	kinds := map[ledger.Kind]string{ledger.Write: "write", ledger.Manifest: "manifest", ledger.Event: "event"}
	return provenJSON{kinds[p.Leaf.Kind], p.Leaf.Bucket, p.Leaf.Key, p.Leaf.Dot.String(), fmt.Sprintf("%x", p.Leaf.Sum), p.Leaf.At, p.Index, p.Size, newCosignedJSON(p.Cosigned)}
}

func newCosignedJSON(by []ledger.Cosigned) []cosignedJSON {
	out := []cosignedJSON{}
	for _, b := range by {
		out = append(out, cosignedJSON{b.Name, b.At})
	}
	return out
}

// verifyProof checks a proof or a log, without any node.
func verifyProof(s *session) error {
	if err := checkMeant(s, "verify log witness quorum trust json"); err != nil {
		return err
	}
	if err := loadTrust(s); err != nil {
		return err
	}
	path := s.words[0]
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read the proof: %w", err)
	}
	if info.IsDir() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		got, err := ledger.VerifyLog(ctx, ledger.DirTiles(path), s.prove.trust)
		return showVerified(s, err, map[string]any{"size": got.Size, "cosigned_size": got.CosignedSize, "cosigned": newCosignedJSON(got.Cosigned)}, func(w io.Writer) {
			fmt.Fprintf(w, "the log of %d leaves is whole, and is that of its checkpoint", got.Size)
			if s.prove.trust.Quorum > 0 {
				fmt.Fprintf(w, "; %d of them are%s", got.CosignedSize, cosignedInWords(got.Cosigned))
			}
			fmt.Fprintln(w)
		})
	}
	proof, err := readBounded(path)
	if err != nil {
		return err
	}
	got, err := ledger.Verify(proof, s.prove.trust)
	p := newProvenJSON(got)
	return showVerified(s, err, map[string]any{"proven": p}, func(w io.Writer) {
		fmt.Fprintf(w, "proven: %s of bucket %s, key %s, version %s, sum %s, entered %s\nleaf %d of %d,%s\n",
			p.Kind, quoteUnlessPlain(p.Bucket), quoteUnlessPlain(p.Key), p.Version, p.Sum, textOfTime(p.At), p.Index, p.Size, cosignedInWords(got.Cosigned))
	})
}

func cosignedInWords(by []ledger.Cosigned) string {
	if len(by) == 0 {
		return " cosigned by nobody who is trusted"
	}
	var words []string
	for _, b := range by {
		words = append(words, fmt.Sprintf("%s at %s", cleanLine(b.Name), textOfTime(b.At)))
	}
	return " cosigned by " + strings.Join(words, ", ")
}

// showVerified tells what was verified, or what is wrong with it.
func showVerified(s *session, err error, out map[string]any, words func(io.Writer)) error {
	if err != nil && !errors.Is(err, ledger.ErrUnproven) {
		return err // it could not be read
	}
	ok := err == nil
	switch {
	case s.json && ok:
		out["ok"] = true
		err = s.printJSON(out)
	case s.json:
		err = s.printJSON(map[string]any{"ok": false, "error": err.Error()})
	case ok:
		words(s.out)
	default:
		_, err = fmt.Fprintf(s.out, "not proven: %s\n", cleanLine(err.Error()))
	}
	if err == nil && !ok {
		return errProblems
	}
	return err
}

// loadTrust reads the file of -trust, and checks that a key of a log is named.
func loadTrust(s *session) error {
	t := &s.prove.trust
	if s.prove.trustFile != "" {
		text, err := readBounded(s.prove.trustFile)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) == 0 || strings.HasPrefix(words[0], "#") {
				continue
			}
			switch {
			case len(words) == 2 && words[0] == "log" && t.Log == "":
				t.Log = words[1]
			case len(words) == 2 && words[0] == "witness":
				t.Witnesses = append(t.Witnesses, words[1])
			case len(words) == 2 && words[0] == "quorum" && t.Quorum == 0:
				if t.Quorum, err = strconv.Atoi(words[1]); err == nil {
					break
				}
				fallthrough
			default:
				return usageError(fmt.Sprintf("-trust: %.80q is no line as log KEY, witness KEY or quorum N, or a second key of a log", strings.TrimSpace(line)))
			}
		}
	}
	slices.Sort(t.Witnesses)
	t.Witnesses = slices.Compact(t.Witnesses)
	switch {
	case t.Log == "":
		return usageError("no key of a log: name it with -log or in the file of -trust")
	case t.Quorum < 0 || t.Quorum > len(t.Witnesses):
		return usageError(fmt.Sprintf("-quorum %d of %s", t.Quorum, countNoun(len(t.Witnesses), "witness key")))
	}
	return nil
}

// readBounded reads a small file.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxProofFile+1))
	if err == nil && len(data) > maxProofFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxProofFile)
	}
	return data, err
}
