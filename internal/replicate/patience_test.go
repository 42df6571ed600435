package replicate

import (
	"testing"
	"testing/quick"
	"time"
)

// The times must fit into each other, whatever AckTimeout is.
func TestPatienceFits(t *testing.T) {
	holds := func(ms uint16) bool {
		ack := time.Duration(ms)*time.Millisecond + 10*time.Millisecond
		p := Patience(ack)
		handedOn := 2 * p.Silent()     // when the write goes to the next store at the earliest
		return p.Begin() < handedOn && // the first may not commit it any more by then
			handedOn <= ack && // documented: a silent store costs AckTimeout at most
			p.Answer() <= p.Forward() &&
			handedOn+p.TakeForOther() <= p.Take() && // a second store that was asked then is through in time
			p.Take() < p.Forward() && // the client is told before nobody is asked any more
			p.InformUntil(p.Take()) > ack && p.InformUntil(p.TakeForOther()) >= ack // one silent store leaves time to ask another
	}
	if err := quick.Check(holds, nil); err != nil {
		t.Error(err)
	}
}
