package mesh_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// startPair starts two nodes of one mesh that are in contact. end stops them, and removes
// their directories.
func startPair(ctx context.Context) (press, panel *mesh.Node, end func()) {
	dir, err := os.MkdirTemp("", "skein")
	if err != nil {
		log.Fatal(err)
	}
	secret := identity.NewSecret()
	press, err = mesh.Start(ctx, mesh.Config{
		Dir: filepath.Join(dir, "press"), Secret: secret, Name: "press", Storing: true, Listen: "127.0.0.1:0",
	})
	if err != nil {
		log.Fatal(err)
	}
	panel, err = mesh.Start(ctx, mesh.Config{
		Dir: filepath.Join(dir, "panel"), Secret: secret, Name: "panel", Listen: "127.0.0.1:0", Seeds: []string{press.Addr().String()},
	})
	if err != nil {
		log.Fatal(err)
	}
	for v := range panel.Watch(ctx) {
		if v.Count(view.Alive) == 2 {
			break
		}
	}
	return press, panel, func() {
		_ = panel.Close()
		_ = press.Close()
		_ = os.RemoveAll(dir)
	}
}

// A press says which job it works on, and what it can do just now; a panel sees it.
func ExampleNode_SetTags() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	press, panel, end := startPair(ctx)
	defer end()
	if err := press.SetTags(map[string]string{"job": "4711"}, []string{"plc", "camera"}); err != nil {
		fmt.Println(err)
	}
	for v := range panel.Watch(ctx) { // it takes a second or two
		if m, _ := v.Member(press.ID()); slices.Contains(m.Capabilities, "camera") {
			fmt.Println(m.Name, "works on job", m.Tags["job"], "and has", m.Capabilities)
			break
		}
	}
	err := press.SetTags(map[string]string{"": "no key"}, nil)
	fmt.Println("refused:", err != nil)
	// Output:
	// press works on job 4711 and has [camera plc]
	// refused: true
}

// A panel asks all nodes in contact for their temperature, and gets an answer, or an error,
// of each.
func ExampleNode_Request() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	press, panel, end := startPair(ctx)
	defer end()
	err := press.Handle("temperature", func(_ context.Context, from view.NodeID, req []byte) ([]byte, error) {
		return []byte("81 degrees of " + string(req)), nil
	})
	if err != nil {
		fmt.Println(err)
	}
	var lines []string // answers come in any order
	for a, err := range panel.Request(ctx, "temperature", []byte("oil")) {
		m, _ := panel.View().Member(a.From)
		switch {
		case err != nil: // the panel has no handler
			lines = append(lines, m.Name+" does not tell")
		default:
			lines = append(lines, m.Name+": "+string(a.Payload))
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	// Output:
	// panel does not tell
	// press: 81 degrees of oil
}
