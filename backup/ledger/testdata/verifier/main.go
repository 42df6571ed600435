// Command verifier checks a proof of a ledger with nothing of Skein: golang.org/x/mod, and the texts
// of C2SP read by hand. It reads the proof and tells what it shows.
//
//	verifier LOG-KEY WITNESS-KEY... <proof.tlog-proof
package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	proof, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = verify(string(proof), os.Args[1], os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

func verify(proof, logKey string, witnessKeys []string) error {
	head, checkpoint, ok := strings.Cut(proof, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("no proof")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		path = append(path, h)
	}
	log, err := note.NewVerifier(logKey)
	if err != nil {
		return err
	}
	verifiers := []note.Verifier{log}
	for _, k := range witnessKeys {
		w, err := newWitness(k)
		if err != nil {
			return err
		}
		verifiers = append(verifiers, w)
	}
	n, err := note.Open([]byte(checkpoint), note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	text := strings.Split(n.Text, "\n") // origin, size, root
	size, err1 := strconv.ParseInt(text[1], 10, 64)
	root, err2 := tlog.ParseHash(text[2])
	if err := errors.Join(err1, err2); err != nil || text[0] != log.Name() {
		return fmt.Errorf("checkpoint of %q: %w", text[0], err)
	}
	leaf := extra[:102]
	if err := tlog.CheckRecord(path, size, root, index, tlog.RecordHash(leaf)); err != nil {
		return err
	}
	return open(leaf, extra[102:], len(n.Sigs)-1, index, size)
}

// open checks for what the leaf stands.
func open(leaf, opening []byte, cosigned int, index, size int64) error {
	salt, sum, length := opening[:32], opening[32:64], opening[64:68]
	bucket, key := opening[68:][:binary.BigEndian.Uint32(length)], opening[68:][binary.BigEndian.Uint32(length):]
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, salt)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	if !hmac.Equal(mac([]byte{1}, length, bucket, key), leaf[38:70]) || !hmac.Equal(mac([]byte{2}, sum), leaf[70:102]) {
		return errors.New("the leaf stands for something else")
	}
	fmt.Printf("leaf %d of %d, cosigned by %d: %s/%s %x\n", index, size, cosigned, bucket, key, sum)
	return nil
}

// witness checks cosignatures of version 1.
type witness struct {
	name   string
	hash   uint32
	public ed25519.PublicKey
}

func newWitness(text string) (w witness, err error) {
	name, rest, _ := strings.Cut(text, "+")
	_, key64, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(key64)
	if err != nil || len(key) != 33 || key[0] != 4 {
		return w, fmt.Errorf("key of a witness: %w", err)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return witness{name, binary.BigEndian.Uint32(sum[:]), key[1:]}, nil
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }

func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 72 {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(w.public, []byte(signed), sig[8:])
}
