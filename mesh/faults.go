package mesh

import (
	"errors"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
)

// faults are the errors that nodes tell each other when they do not take in a hello,
// or do not answer a call. Handlers of programs have words of their own, which may be
// these: see RemoteError. So in what comes of a call only ErrAdminOff and ErrNoHandler
// are looked for, and other sentinels where this package has called itself.
var faults = wire.Faults{
	{Err: errBadHello, Word: "bad-hello"},
	{Err: roster.ErrClone, Word: "id-in-use"},
	{Err: errNameInUse, Word: "name-in-use"},
	{Err: roster.ErrOldBoot, Word: "rolled-back"},
	{Err: roster.ErrGone, Word: "gone"},
	{Err: errReplaces, Word: "replaces"},
	{Err: roster.ErrFull, Word: "full"},
	{Err: errBusy, Word: link.CodeBusy},
	{Err: ErrAdminOff, Word: "admin-off"},
	{Err: ErrNoHandler, Word: "no-handler"},
	{Err: ErrOverloaded, Word: link.CodeOverloaded},
	{Err: ErrInContact, Word: "in-contact"},
	{Err: ErrNoMember, Word: "no-member"},
	{Err: ErrNoSubscription, Word: "no-subscription"},
	{Err: ErrTopic, Word: "bad-topic"},
}

// Why a hello is refused, beside what the roster says.
var (
	errBadHello  = errors.New("mesh: hello cannot be read, or contradicts itself")
	errNameInUse = errors.New("mesh: a node lives under the name")
	errReplaces  = errors.New("mesh: it must name whom it replaces") // the NodeID is all that follows
	errBusy      = errors.New("mesh: not now")                       // there may be another answer next time
)

// endings are the refusals after which a node must not go on, with what it ends with.
var endings = []struct {
	refusal, err error
	end          wire.End
}{
	{roster.ErrClone, ErrIdentityConflict, wire.EndRolled},
	{errNameInUse, ErrIdentityConflict, wire.Running},
	{roster.ErrOldBoot, ErrRolledBack, wire.EndRolled},
	{roster.ErrGone, ErrEvicted, wire.EndEvicted},
}

// endingOf tells what a refusal ends a node with; nil: it may go on.
func endingOf(refusal error) (end wire.End, why error) {
	for _, e := range endings {
		if errors.Is(refusal, e.refusal) {
			return e.end, e.err
		}
	}
	return wire.Running, nil
}

// refuseHello is what the sender of a hello is told.
func refuseHello(why error, text string) *link.RefusedError {
	word, _ := faults.Word(why)
	return &link.RefusedError{Code: word, Text: text}
}

// refusalOf turns an error of the roster into what the sender of a hello is told.
func refusalOf(err error) error {
	if err == nil {
		return nil
	}
	word, text := faults.Word(err)
	switch {
	case errors.Is(err, roster.ErrNameTaken): // there was news since admitName looked
		return refuseHello(errBusy, text)
	case word == "":
		return refuseHello(errBadHello, text)
	}
	return &link.RefusedError{Code: word, Text: text}
}

// failCall is what a caller is told.
func failCall(why error, text string) error {
	word, _ := faults.Word(why)
	return &link.RemoteError{Code: word, Text: text}
}

// tellFault turns the error of a method that this package answers itself into what the
// caller is told, and hearFault what was told into the error.
func tellFault(err error) error {
	if word, text := faults.Word(err); word != "" {
		return &link.RemoteError{Code: word, Text: text}
	}
	return err
}

func hearFault(err error) error {
	var remote *RemoteError
	if !errors.As(err, &remote) {
		return err
	}
	var unknown *wire.UnknownFault
	if told := faults.FromWord(remote.Code, remote.Text); !errors.As(told, &unknown) {
		return told
	}
	return err
}
