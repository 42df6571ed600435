package elect

// Score says how well a node would lead.
type Score uint16

// Beats tells whether a is better than b by more than the margin.
func Beats(a, b Score) bool { return uint32(a)*100 > uint32(b)*115 }
