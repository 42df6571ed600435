package service

// Health is how the service is at this node.
type Health uint8

const (
	Offline  Health = iota // it does not run here, or is not verified
	Healthy                //
	Degraded               // the last check was bad, or the last two
	Failed                 // three in a row were, and it is not verified again
)
