package replicate

import "time"

// Patience is AckTimeout, and how long is waited for what by it. A store that a write
// is handed to and that keeps silent for half of AckTimeout is asked whether it is
// there, and has the other half to say so. Then the write goes to another one, and must
// not be committed by the first any more. For example, of 500 ms:
//
//	   0  the write goes to store A
//	 250  nothing came: A is asked whether it is there
//	 375  A may not commit it any more; the rest is for clocks that do not go alike
//	 500  A is silent: the write goes to store B
//	1375  a client of the node that asked is told how things stand
//	1500  nobody is asked any more
type Patience time.Duration

func (p Patience) scaleBy(num, den int64) time.Duration {
	return time.Duration(int64(p) / den * num)
}

// Begin is how long a store that a write is handed to has to commit it.
func (p Patience) Begin() time.Duration { return p.scaleBy(3, 4) }

// Silent is how long nothing may come of a store until it is asked whether it is there,
// and how long it has to answer that.
func (p Patience) Silent() time.Duration { return p.scaleBy(1, 2) }

// Answer is how long a store may take that is there.
func (p Patience) Answer() time.Duration { return p.scaleBy(2, 1) }

// Probe is how long a store may take to answer a short question.
func (p Patience) Probe() time.Duration { return p.scaleBy(1, 1) }

// Remember is how long a store that was silent counts as that, until the mesh has made
// up its mind.
func (p Patience) Remember() time.Duration { return p.scaleBy(4, 1) }

// Forward is how long all the stores together may take that a write is handed to.
func (p Patience) Forward() time.Duration { return p.scaleBy(3, 1) }

// Take is how long a client of this store may wait for copies.
func (p Patience) Take() time.Duration { return p.scaleBy(11, 4) }

// TakeForOther is how long a client of another node may wait for copies that this store
// makes: that one has met a silent store before, and the answer takes time, too.
func (p Patience) TakeForOther() time.Duration { return p.scaleBy(7, 4) }

// InformUntil is until when a write that is to end by then may ask what others know:
// it is committed after that, and some copies should be made.
func (p Patience) InformUntil(ends time.Duration) time.Duration { return ends - p.scaleBy(3, 4) }
