// Command leash runs another command such that it ends with its service's lease: see
// failover.Process. It is not called by people.
package main

import (
	"os"

	"github.com/skeinmesh/skein/failover"
)

func main() { os.Exit(failover.RunLeash(os.Args[1:], os.Stdout)) }
