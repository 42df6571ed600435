package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// trustOf is a trust in the log of a box, cosigned by so many of the others.
func (w *world) trustOf(b *box, quorum int) Trust {
	t := Trust{Quorum: quorum}
	t.Log, _ = b.Keys()
	for _, other := range w.boxes {
		if other != b {
			_, cosign := other.Keys()
			t.Witnesses = append(t.Witnesses, cosign)
		}
	}
	return t
}

// All peers cosign in one round; later ones prove that the log has only grown; a proof
// holds offline with all of them.
func TestPeersCosign(t *testing.T) {
	inWorld(t, 4, 0, func(w *world) {
		ctx, b := context.Background(), w.boxes[0]
		for round := range 3 {
			b.append(t, round*150, round*150+150)
			w.round()
			s := b.Status()
			if s.Size != int64(150*(round+1)) || s.CosignedSize != s.Size || len(s.Cosigned) != 3 || s.Asked != 3 {
				t.Fatalf("round %d: %+v", round, s)
			}
		}
		index, err := b.Find(ctx, testLeaf(170))
		if err != nil {
			t.Fatal(err)
		}
		b.append(t, 450, 451) // not cosigned yet
		proof, err := b.Prove(ctx, index, testLeaf(170))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Verify(proof, w.trustOf(b, 3))
		if err != nil || got.Size != 450 || len(got.Cosigned) != 3 || time.Since(got.Cosigned[0].At) > time.Minute {
			t.Errorf("%+v, %v", got, err)
		}
		index, _ = b.Find(ctx, testLeaf(450))
		proof, err = b.Prove(ctx, index, testLeaf(450))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Verify(proof, w.trustOf(b, 0)); err != nil || got.Size != 451 || len(got.Cosigned) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
		if kinds := w.alarmed(b); len(kinds) > 0 {
			t.Errorf("alarms %v", kinds)
		}
	})
}

// Cut off from all, the log grows, and Status tells that nobody has cosigned; after the cut it is made good.
func TestNothingWaitsForPeers(t *testing.T) {
	inWorld(t, 4, 0, func(w *world) {
		b := w.boxes[3]
		b.append(t, 0, 10)
		w.round()
		w.net.Partition([]netip.Addr{b.addr}, []netip.Addr{w.boxes[0].addr, w.boxes[1].addr, w.boxes[2].addr})
		b.append(t, 10, 30)
		w.round()
		if s := b.Status(); s.Size != 30 || s.Signed != 30 || s.CosignedSize != 10 || len(s.Cosigned) != 3 {
			t.Errorf("%+v", s)
		}
		w.until("the cut is seen", func() bool { return b.node.View().Count(view.Alive) == 1 })
		w.round()
		if s := b.Status(); s.Asked != 0 {
			t.Errorf("%+v", s)
		}
		w.net.HealAll()
		w.until("it is healed", func() bool { return b.node.View().Count(view.Alive) == 4 })
		w.round()
		if s := b.Status(); s.CosignedSize != 30 || len(s.Cosigned) != 3 {
			t.Errorf("%+v", s)
		}
		if kinds := w.alarmed(b); len(kinds) > 0 {
			t.Errorf("alarms %v", kinds)
		}
	})
}

// The directory of a ledger is put back to an earlier image. The node and its peers tell, whether
// it has grown past what they have seen or not.
func TestRollbackIsSeen(t *testing.T) {
	for _, grown := range []int{0, 20, 100} {
		t.Run(fmt.Sprint("grown by ", grown), func(t *testing.T) {
			inWorld(t, 3, 0, func(w *world) {
				b := w.boxes[0]
				b.append(t, 0, 40)
				w.round()
				image := b.fs.CrashClone(vfs.CrashCloneCfg{})
				b.append(t, 40, 90)
				w.round()
				b.reopenOn(t, image)
				b.append(t, 500, 500+grown)
				w.round()
				kinds, want := w.alarmed(b), RolledBack
				if grown > 50 {
					want = Forked
				}
				if kinds[want] != 3 { // at the node itself, and both peers
					t.Errorf("alarms %v, want 3 times %v", kinds, want)
				}
				for _, other := range w.boxes {
					for _, a := range other.Status().Alarms {
						seen, err := b.own.openOwn(a.Seen)
						shown, err2 := b.own.openOwn(a.Shown)
						if err != nil || err2 != nil || max(seen.Size, shown.Size) < 90 {
							t.Errorf("evidence of %d and %d leaves, %v, %v", seen.Size, shown.Size, err, err2)
						}
					}
				}
			})
		})
	}
}

// reopenOn has a box go on with what is on another disk.
func (b *box) reopenOn(t *testing.T, mem *vfs.MemFS) {
	t.Helper()
	_ = b.Ledger.Close()
	b.fs = mem
	b.open(t)
}

// A ledger that is opened anew serves no worse than the one before: it remembers the logs of others.
func TestWitnessRemembersOverRestarts(t *testing.T) {
	inWorld(t, 3, 1, func(w *world) {
		e := newEvil(t, w.boxes[0], 0)
		e.show(t, w.boxes[1], 0, 0, 50, ledger.Agreed)
		w.boxes[1].reopenOn(t, w.boxes[1].fs.CrashClone(vfs.CrashCloneCfg{}))
		e.show(t, w.boxes[1], 0, 0, 60, ledger.SeenOther)
		e.show(t, w.boxes[1], 0, 50, 60, ledger.Agreed)
		e.show(t, w.boxes[1], 1, 60, 61, ledger.Forked)
		w.boxes[1].reopenOn(t, w.boxes[1].fs.CrashClone(vfs.CrashCloneCfg{}))
		e.show(t, w.boxes[1], 0, 60, 61, ledger.Forked) // of which there are two is cosigned no more
	})
}

// newEvil has a played node keep two histories that part after so many leaves.
func newEvil(t *testing.T, b *box, common int) *evil {
	t.Helper()
	e := &evil{box: b, signer: ledger.NewSigner(nameOf(b.node.ID()), [32]byte{66})}
	for i := range e.trees {
		e.trees[i] = &memoryLog{tiles: map[string][]byte{}}
		for n := range 100 {
			entry := fmt.Sprint("entry", n)
			if n >= common {
				entry += fmt.Sprint(" of ", i)
			}
			e.trees[i].add(entry)
		}
	}
	handle := func(method string, fn func(req []byte) []byte) {
		if err := b.node.Handle(method, func(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
			if reply := fn(req); reply != nil {
				return reply, nil
			}
			return nil, fmt.Errorf("not now")
		}); err != nil {
			t.Fatal(err)
		}
	}
	handle(methodKeys, func([]byte) []byte {
		return wire.AppendLedgerHeads(nil, wire.LedgerHeads{Heads: []wire.LedgerHead{{Node: b.node.ID(), Log: e.signer.Keys.Log, Cosign: e.signer.Keys.Cosign}}})
	})
	handle(methodHeads, func([]byte) []byte { return []byte{} })
	handle(methodGrowth, func(req []byte) []byte {
		g, _ := wire.DecodeLedgerGrowth(req)
		if e.silent {
			return nil
		}
		proof, _ := ledger.ProveGrowth(e.at(0, g.To), g.From, e.trees[0].read)
		return wire.AppendLedgerGrown(nil, wire.LedgerGrown{Size: 100, Hashes: asHashes[[32]byte](proof)})
	})
	return e
}

func (e *evil) at(tree int, size int64) ledger.Checkpoint {
	m := e.trees[tree]
	c := ledger.Checkpoint{Origin: nameOf(e.node.ID()), Size: m.tree.Size(), Root: m.tree.Root()}
	root, _ := ledger.RootAt(c, size, m.read)
	return ledger.Checkpoint{Origin: c.Origin, Size: size, Root: root}
}

// show asks a peer to cosign one of the histories.
func (e *evil) show(t *testing.T, to *box, tree int, old, size int64, want ledger.Verdict) {
	t.Helper()
	c := e.at(tree, size)
	proof, _ := ledger.ProveGrowth(c, old, e.trees[tree].read)
	ask := wire.LedgerAsk{Old: old, Hashes: asHashes[[32]byte](proof), Note: e.signer.Sign(size, c.Root)}
	reply, err := e.node.Call(context.Background(), to.node.ID(), methodCosign, wire.AppendLedgerAsk(nil, ask))
	if want == 0 {
		if err == nil {
			t.Error("an answer where there must be none")
		}
		return
	}
	answer, err2 := wire.DecodeLedgerAnswer(reply)
	if err != nil || err2 != nil || ledger.Verdict(answer.Verdict) != want {
		t.Errorf("tree %d from %d to %d: verdict %d, want %d, %v, %v", tree, old, size, answer.Verdict, want, err, err2)
	}
}

// Two witnesses are shown two histories, of the same size or not. One round later it is known.
func TestForkIsSeenInOneRound(t *testing.T) {
	for name, sizes := range map[string][2]int64{"same size": {50, 50}, "more": {50, 80}, "less": {80, 50}} {
		for _, nodes := range []int{3, 5} {
			t.Run(fmt.Sprint(name, " of ", nodes), func(t *testing.T) {
				inWorld(t, nodes, 1, func(w *world) {
					e := newEvil(t, w.boxes[0], 20)
					e.show(t, w.boxes[1], 0, 0, sizes[0], ledger.Agreed)
					e.show(t, w.boxes[2], 1, 0, sizes[1], ledger.Agreed)
					if kinds := w.alarmed(e.box); len(kinds) > 0 {
						t.Fatal("an alarm before anybody could know")
					}
					w.round()
					if kinds := w.alarmed(e.box); kinds[Forked] < 2 || len(kinds) != 1 {
						t.Errorf("alarms %v", kinds)
					}
					key, _ := ledger.ParseKey(e.signer.Keys.Log)
					for _, b := range w.boxes[1:] {
						for _, a := range b.Status().Alarms {
							seen, _, err := ledger.OpenNote(a.Seen, key)
							shown, _, err2 := ledger.OpenNote(a.Shown, key)
							if err != nil || err2 != nil || seen == shown {
								t.Errorf("no evidence: %v, %v", err, err2)
							}
						}
					}
					e.show(t, w.boxes[1], 0, sizes[0], 90, ledger.Forked)
				})
			})
		}
	}
}

// A log that owes a proof is cosigned by nobody who asks for it until it gives that.
func TestNoProofNoCosignature(t *testing.T) {
	inWorld(t, 4, 1, func(w *world) {
		e := newEvil(t, w.boxes[0], 20)
		e.silent = true
		e.show(t, w.boxes[1], 0, 0, 50, ledger.Agreed)
		e.show(t, w.boxes[2], 1, 0, 80, ledger.Agreed)
		w.round()
		doubted := 0
		for _, b := range w.boxes[1:] {
			if s := b.Status(); s.Doubted > 0 {
				doubted++
				e.show(t, b, 0, 50, 60, 0)
			}
		}
		if kinds := w.alarmed(e.box); doubted < 2 || len(kinds) > 0 {
			t.Errorf("%d doubt, alarms %v", doubted, kinds)
		}
		e.silent = false
		e.show(t, w.boxes[1], 0, 50, 60, ledger.Forked)
	})
}

// A node that begins its log anew is not stopped, and told of.
func TestAnotherLogIsTold(t *testing.T) {
	inWorld(t, 3, 1, func(w *world) {
		e := newEvil(t, w.boxes[0], 100)
		e.show(t, w.boxes[1], 0, 0, 50, ledger.Agreed)
		for i := range 5 {
			e.signer = ledger.NewSigner(nameOf(e.node.ID()), [32]byte{byte(i)})
			want := ledger.Agreed
			if i >= mostOfNode-1 {
				want = 0
			}
			e.show(t, w.boxes[1], 0, 0, 30, want)
		}
		if kinds := w.alarmed(e.box); kinds[Replaced] < mostOfNode-1 || len(kinds) != 1 {
			t.Errorf("alarms %v", kinds)
		}
	})
}

// What strangers to the truth send changes nothing.
func TestNonsenseIsRefused(t *testing.T) {
	inWorld(t, 3, 1, func(w *world) {
		e, b := newEvil(t, w.boxes[0], 100), w.boxes[1]
		other := w.boxes[2]
		other.append(t, 0, 5)
		w.round()
		before := len(b.witness.heads())
		forged := ledger.NewSigner(nameOf(other.node.ID()), [32]byte{3}).Sign(3, e.at(0, 3).Root)
		heads := wire.LedgerHeads{Heads: []wire.LedgerHead{
			{Node: other.node.ID(), Note: forged}, {Node: b.node.ID(), Note: forged}, {Node: other.node.ID(), Note: make([]byte, 2000)}, {Node: 12345, Note: forged},
		}}
		for method, req := range map[string][]byte{
			methodHeads: wire.AppendLedgerHeads(nil, heads), methodCosign: wire.AppendLedgerAsk(nil, wire.LedgerAsk{Note: forged}), methodGrowth: []byte("x"),
		} {
			if reply, err := e.node.Call(context.Background(), b.node.ID(), method, req); err == nil {
				t.Errorf("%s answers %x", method, reply)
			}
		}
		many := wire.LedgerHeads{Heads: slices.Repeat(heads.Heads[:1], mostAtATime+1)}
		if _, err := e.node.Call(context.Background(), b.node.ID(), methodHeads, wire.AppendLedgerHeads(nil, many)); err == nil {
			t.Error("any number of heads")
		}
		if kinds := w.alarmed(e.box); len(kinds) > 0 || len(b.witness.heads()) != before {
			t.Errorf("alarms %v", kinds)
		}
	})
}

func TestKeepCosigning(t *testing.T) {
	inWorld(t, 3, 0, func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); w.boxes[0].KeepCosigning(ctx, 0) }()
		w.boxes[0].append(t, 0, 3)
		time.Sleep(61 * time.Second)
		if s := w.boxes[0].Status(); s.CosignedSize != 3 || len(s.Cosigned) != 2 {
			t.Errorf("%+v", s)
		}
		cancel()
		<-done
	})
}

// A program of others, with nothing of this module, accepts the proof and the cosignatures, and no
// other.
func TestOutsideVerifier(t *testing.T) {
	var proof []byte
	var trust Trust
	inWorld(t, 4, 0, func(w *world) {
		w.boxes[0].append(t, 0, 700)
		w.round()
		index, err := w.boxes[0].Find(context.Background(), testLeaf(321))
		if err != nil {
			t.Fatal(err)
		}
		if proof, err = w.boxes[0].Prove(context.Background(), index, testLeaf(321)); err != nil {
			t.Fatal(err)
		}
		trust = w.trustOf(w.boxes[0], 3)
	})
	program := filepath.Join(t.TempDir(), "verifier")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("testdata", "verifier")
	build.Env = append(os.Environ(), "GOFLAGS=-mod=readonly -buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(proof []byte) (string, error) {
		cmd := exec.Command(program, append([]string{trust.Log}, trust.Witnesses...)...)
		cmd.Stdin = bytes.NewReader(proof)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run(proof)
	leaf := testLeaf(321)
	if err != nil || !strings.HasSuffix(out, fmt.Sprintf(" of 700, cosigned by 3: %s/%s %x\n", leaf.Bucket, leaf.Key, leaf.Sum)) {
		t.Fatalf("%s%v", out, err)
	}
	for range 20 {
		bad := bytes.Clone(proof)
		bad[rand.IntN(len(bad))] ^= 2
		if _, err := Verify(bad, trust); !errors.Is(err, ErrUnproven) {
			t.Errorf("a changed proof is accepted: %v", err)
		}
		if out, err := run(bad); err == nil && !strings.HasSuffix(out, fmt.Sprintf(": %s/%s %x\n", leaf.Bucket, leaf.Key, leaf.Sum)) {
			t.Errorf("a changed proof shows %s", out)
		}
	}
}

// A peer that answers with something else than its signature of this checkpoint has not cosigned.
func TestWrongCosignatureDoesNotCount(t *testing.T) {
	inWorld(t, 3, 1, func(w *world) {
		e, b := newEvil(t, w.boxes[0], 100), w.boxes[1]
		answers := []string{"", "x", "— a b\n", e.signer.Cosign(e.at(0, 9), time.Now()), ledger.NewSigner(nameOf(e.node.ID()), [32]byte{9}).Cosign(e.at(0, 9), time.Now())}
		asked := 0
		if err := e.node.Handle(methodCosign, func(context.Context, view.NodeID, []byte) ([]byte, error) {
			asked++
			return wire.AppendLedgerAnswer(nil, wire.LedgerAnswer{Verdict: uint8(ledger.Agreed), Text: []byte(answers[asked%len(answers)])}), nil
		}); err != nil {
			t.Fatal(err)
		}
		b.append(t, 0, 5)
		for range answers {
			if err := b.Cosign(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if s := b.Status(); asked != len(answers) || s.Asked != 2 || len(s.Cosigned) != 1 || s.Cosigned[0].Name != nameOf(w.boxes[2].node.ID()) {
			t.Errorf("asked %d times: %+v", asked, s)
		}
	})
}

// A peer that names one earlier state after the other is not asked for ever.
func TestPeerThatNeverAgrees(t *testing.T) {
	inWorld(t, 2, 1, func(w *world) {
		e, b := newEvil(t, w.boxes[0], 100), w.boxes[1]
		b.append(t, 0, 3)
		first, _ := b.Checkpoint(context.Background())
		b.append(t, 3, 9)
		second, _ := b.Checkpoint(context.Background())
		b.append(t, 9, 12)
		asked := 0
		if err := e.node.Handle(methodCosign, func(context.Context, view.NodeID, []byte) ([]byte, error) {
			asked++
			return wire.AppendLedgerAnswer(nil, wire.LedgerAnswer{Verdict: uint8(ledger.SeenOther), Text: [][]byte{first, second}[asked%2]}), nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := b.Cosign(context.Background()); err != nil || asked != mostTries {
			t.Errorf("asked %d times, %v", asked, err)
		}
		if kinds := w.alarmed(b); len(kinds) > 0 {
			t.Errorf("alarms %v", kinds)
		}
	})
}
