package link

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestFirstIsLost(t *testing.T) {
	for what, c := range map[string]struct {
		info unix.TCPInfo
		want bool
	}{
		"large ones vanish":         {unix.TCPInfo{Bytes_acked: 1, Retransmits: 2, Sacked: 1}, true},
		"and for long":              {unix.TCPInfo{Bytes_acked: 1, Retransmits: 5, Sacked: 1}, true},
		"all vanish":                {unix.TCPInfo{Bytes_acked: 1, Retransmits: 5}, false},
		"lost once more, by chance": {unix.TCPInfo{Bytes_acked: 1, Retransmits: 1, Sacked: 1}, false},
		"all arrives":               {unix.TCPInfo{Bytes_acked: 1600}, false},
		"large ones did arrive":     {unix.TCPInfo{Bytes_acked: 1189, Retransmits: 2, Sacked: 1}, false},
		"nothing is under way":      {unix.TCPInfo{}, false},
	} {
		if got := firstIsLost(&c.info); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}
