package storage
import ("testing";"os";"fmt";"strings";"runtime/debug";"runtime")
func TestZZIdle(t *testing.T) {
	rss := func() string { debug.FreeOSMemory(); b,_ := os.ReadFile("/proc/self/status"); for l := range strings.Lines(string(b)) { if strings.HasPrefix(l,"VmRSS") { return strings.TrimSpace(l) } }; return "" }
	a := rss()
	s, err := Open(Options{Dir: t.TempDir()+"/s"})
	if err != nil { t.Fatal(err) }
	b := rss()
	fmt.Println("before", a, "open", b, "goroutines", runtime.NumGoroutine())
	s.Close()
}
