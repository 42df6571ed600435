package link

import "golang.org/x/sys/unix"

func losesLarge(fd uintptr) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && firstIsLost(info)
}

// firstIsLost tells whether the first segment was sent three times at least and never
// arrived, and one behind it did. A path that is cut, or a peer that has died, takes
// neither.
func firstIsLost(info *unix.TCPInfo) bool {
	const resent = 2 // times by timeout
	const syn = 1    // counts as a byte
	return info.Bytes_acked <= syn && info.Retransmits >= resent && info.Sacked > 0
}
