package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
)

// Main is the whole life of a peer process: open the system in dir, say hello,
// answer commands from stdin until it ends. It returns the exit code.
func Main(open func(ctx context.Context) (System, Hello, error)) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sys, hello, err := open(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	if hello.Absent != "" {
		if err := json.NewEncoder(os.Stdout).Encode(hello); err != nil {
			fmt.Fprintln(os.Stderr, "hello:", err)
			return 1
		}
		return 0
	}
	err = Serve(ctx, sys, hello, os.Stdin, os.Stdout)
	cancel()
	if closeErr := sys.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, hello.System+":", err)
		return 1
	}
	return 0
}

// Serve writes hello, then answers one command a line until in ends.
func Serve(ctx context.Context, sys System, hello Hello, in io.Reader, out io.Writer) error {
	answers := json.NewEncoder(out)
	if err := answers.Encode(hello); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var cmd Command
		if err := json.Unmarshal(lines.Bytes(), &cmd); err != nil {
			return fmt.Errorf("command %q: %w", lines.Text(), err)
		}
		result, err := perform(ctx, sys, cmd)
		if err != nil {
			result = Result{Error: err.Error()}
		}
		if err := answers.Encode(result); err != nil {
			return err
		}
	}
	return lines.Err()
}

func perform(ctx context.Context, sys System, cmd Command) (Result, error) {
	switch cmd.Op {
	case OpFill:
		return fillKeys(ctx, sys, cmd)
	case OpVerify:
		return verifyCopies(ctx, sys, cmd)
	case OpWatch:
		return runWatched(ctx, sys, cmd)
	case OpMemory:
		return memory(sys, cmd)
	case OpExtra:
		values, err := sys.Extra(ctx, cmd)
		return Result{Extra: values}, err
	}
	return runLoad(ctx, sys, cmd)
}

// memory reads RSS as the load left it and the heap after a collection: the
// second one also frees what the first only finalised or took out of pools.
func memory(sys System, cmd Command) (Result, error) {
	resident, err := residentBytes(sys.Children())
	if err != nil {
		return Result{}, err
	}
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return Result{HeapBytes: int64(stats.HeapAlloc), LiveBytes: liveBytes(cmd), RSSBytes: resident}, nil
}
