package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Faults is the table by which the errors of a package travel between nodes, and to
// programs that ask one: a row for each sentinel that another node may have to tell
// apart (protocol G.7). The package that has the sentinels has the table; how a row is chosen, and
// what comes out at the other end, stands here. Rows may be added, and no number or
// word is ever used again for another sentinel.
//
// Where one thing only can be told of an error that is several sentinels, the row that
// stands first is.
type Faults []FaultRow

// FaultRow is a sentinel, and what stands for it. Zero: nothing does there.
type FaultRow struct {
	Err  error
	Code Code       // in the reply of a store
	Bit  AdminFault // in what programs are answered
	Word string     // in a refusal of a hello, and in a call that failed
}

// maxFaultText bounds the words of an error that are sent along.
const maxFaultText = 1 << 10

// Fault is an error as another node has told it: errors.Is finds the sentinels.
type Fault struct {
	text string
	is   []error
}

// Error returns the words of the other node.
func (f *Fault) Error() string { return f.text }

// Unwrap returns the sentinels.
func (f *Fault) Unwrap() []error { return f.is }

// UnknownFault is an error that another node, of a later release mostly, has told and
// that has no row here. It is none of the sentinels, and it is an error.
type UnknownFault struct {
	Code string // the number, the bits in hexadecimal, or the word
	Text string
}

// Error returns the code and the words of the other node.
func (u *UnknownFault) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("fault %q, which is not known here: %s", u.Code, u.Text), ": ")
}

// Code returns what a store replies with after err: CodeNotStored where no row says
// more.
func (f Faults) Code(err error) Code {
	if err == nil {
		return CodeOK
	}
	for _, row := range f {
		if row.Code != 0 && errors.Is(err, row.Err) {
			return row.Code
		}
	}
	return CodeNotStored
}

// FromCode is the reverse of Code, for the store that asked. text is what came with
// the code.
func (f Faults) FromCode(code Code, text string) error {
	switch code {
	case CodeOK:
		return nil
	case CodeNotStored:
		return &Fault{text: text}
	}
	for _, row := range f {
		if row.Code == code {
			return row.asFault(text)
		}
	}
	return &UnknownFault{Code: strconv.FormatUint(uint64(code), 10), Text: text}
}

// Outcome returns what a program is answered after err: all that it is.
func (f Faults) Outcome(err error) AdminOutcome {
	if err == nil {
		return AdminOutcome{}
	}
	o := AdminOutcome{Text: FaultText(err)}
	for _, row := range f {
		if row.Bit != 0 && errors.Is(err, row.Err) {
			o.Faults |= row.Bit
		}
	}
	if o.Faults == 0 {
		o.Faults = AdminOther
	}
	return o
}

// FromOutcome is the reverse of Outcome.
func (f Faults) FromOutcome(o AdminOutcome) error {
	if o.Faults == 0 {
		return nil
	}
	fault, rest := &Fault{text: o.Text}, o.Faults&^AdminOther
	for _, row := range f {
		if row.Bit != 0 && rest&row.Bit != 0 {
			fault.is = append(fault.is, row.Err)
			rest &^= row.Bit
		}
	}
	if rest != 0 {
		fault.is = append(fault.is, &UnknownFault{Code: strconv.FormatUint(uint64(rest), 16), Text: o.Text})
	}
	return fault
}

// Word returns what stands for err in a refusal or a failed call, and its words
// without those of the sentinel. The word is empty where no row has one.
func (f Faults) Word(err error) (word, text string) {
	if err == nil {
		return "", ""
	}
	for _, row := range f {
		if row.Word != "" && errors.Is(err, row.Err) {
			return row.Word, strings.TrimPrefix(FaultText(err), row.Err.Error()+": ")
		}
	}
	return "", FaultText(err)
}

// FromWord is the reverse of Word.
func (f Faults) FromWord(word, text string) error {
	for _, row := range f {
		if row.Word == word && word != "" {
			return row.asFault(text)
		}
	}
	return &UnknownFault{Code: word, Text: text}
}

// Check finds what stands in two rows of the table, or in none of their places. It is
// for tests of the tables.
func (f Faults) Check() error {
	seen := map[any]bool{AdminOther: true, CodeNotStored: true}
	for _, row := range f {
		if row.Code == 0 && row.Bit == 0 && row.Word == "" {
			return fmt.Errorf("nothing stands for %q", row.Err)
		}
		if row.Bit&(row.Bit-1) != 0 {
			return fmt.Errorf("%q is more than one bit: %#x", row.Err, uint64(row.Bit))
		}
		for _, key := range []any{row.Err, row.Code, row.Bit, row.Word} {
			if key == Code(0) || key == AdminFault(0) || key == "" {
				continue
			}
			if seen[key] {
				return fmt.Errorf("%v stands in two rows", key)
			}
			seen[key] = true
		}
	}
	return nil
}

// FaultText returns the words of an error that are sent along.
func FaultText(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), maxFaultText)], "")
}

// asFault is the error of the row, with words that may or may not begin with its own.
func (r FaultRow) asFault(text string) error {
	own := r.Err.Error()
	switch {
	case text == "":
		text = own
	case !strings.HasPrefix(text, own):
		text = own + ": " + text
	}
	return &Fault{text: text, is: []error{r.Err}}
}
