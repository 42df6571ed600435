// Skeinctl looks into a running mesh, and at what it holds, through any of its
// nodes.
//
//	skeinctl init                       mint the secret of a new mesh
//	skeinctl status                     how a node, its store and its part of the mesh are doing
//	skeinctl get -bucket b key          read a value
//	skeinctl scan -bucket b             list keys and values
//
// and more, which skeinctl help lists.
//
// It talks to the port that the nodes use among themselves and proves with the
// mesh secret that it may. A node answers only if the program that runs it
// says so:
//
//	mesh.Start(ctx, mesh.Config{ ... AllowAdmin: true })
//
// Every command explains its flags with -h. The exit status is 0 when all went
// well, 1 when it failed, 2 when it was not understood, 3 when there is no value
// under the key, and 4 when problems were found and told.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const (
	exitOK = iota
	exitFailed
	exitUsage
	exitNotFound
	exitProblems
)

func main() { os.Exit(runCommand(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// runCommand carries out the command that args name and returns the exit status.
func runCommand(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printHelp(stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		printHelp(stdout)
		return exitOK
	}
	c, ok := commandNamed(args[0])
	if !ok {
		fmt.Fprintf(stderr, "skeinctl: there is no command %s; see skeinctl help\n", cleanLine(args[0]))
		return exitUsage
	}
	s := &session{command: c, in: stdin, out: stdout, err: stderr}
	err := s.parseArgs(args[1:])
	if err == nil {
		err = c.run(s)
	}
	var misused usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &misused):
		fmt.Fprintf(stderr, "skeinctl %s: %s\n  usage: %s\n  see skeinctl %s -h\n", c.name, cleanLine(misused.Error()), c.usageLine(), c.name)
		return exitUsage
	}
	if errors.Is(err, errProblems) {
		return exitProblems // they are told
	}
	fmt.Fprintf(stderr, "skeinctl %s: %s\n", c.name, cleanLine(s.explainError(err)))
	if errors.Is(err, errNoValue) {
		return exitNotFound
	}
	return exitFailed
}
