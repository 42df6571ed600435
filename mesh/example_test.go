package mesh_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// Two nodes of one mesh in one program, one of which answers calls.
func ExampleStart() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "skein")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	secret := identity.NewSecret() // once per mesh; give it to every node

	press, err := mesh.Start(ctx, mesh.Config{
		Dir: filepath.Join(dir, "press"), Secret: secret, Name: "press", Zone: "line-1", Storing: true,
		Listen: "127.0.0.1:0",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = press.Close() }()
	err = press.Handle("stamp", func(_ context.Context, from view.NodeID, req []byte) ([]byte, error) {
		return []byte("one part more"), nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// To read twice does no harm: the request may go by UDP, again and again.
	err = press.HandleIdempotent("temperature", func(_ context.Context, from view.NodeID, req []byte) ([]byte, error) {
		return []byte("81 degrees"), nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	panel, err := mesh.Start(ctx, mesh.Config{
		Dir: filepath.Join(dir, "panel"), Secret: secret, Name: "panel", Zone: "office",
		Listen: "127.0.0.1:0", Seeds: []string{press.Addr().String()},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = panel.Close() }()
	if err := panel.Ready(ctx); err != nil {
		fmt.Println(err)
		return
	}
	reply, err := panel.Call(ctx, press.ID(), "stamp", nil)
	fmt.Println(string(reply), err)
	reply, err = panel.CallIdempotent(ctx, press.ID(), "temperature", nil)
	fmt.Println(string(reply), err)
	m, _ := panel.View().Member(press.ID())
	fmt.Println(m.Name, m.Zone, m.Status)
	// Output:
	// one part more <nil>
	// 81 degrees <nil>
	// press line-1 active
}

// A panel chooses nodes by what they say of themselves, and hears what they publish.
func ExampleNode_Subscribe() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "skein")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	secret := identity.NewSecret()
	press, err := mesh.Start(ctx, mesh.Config{
		Dir: filepath.Join(dir, "press"), Secret: secret, Name: "press", Storing: true, Listen: "127.0.0.1:0",
		Tags: map[string]string{"line": "1"}, Capabilities: []string{"plc"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = press.Close() }()
	panel, err := mesh.Start(ctx, mesh.Config{
		Dir: filepath.Join(dir, "panel"), Secret: secret, Name: "panel", Listen: "127.0.0.1:0", Seeds: []string{press.Addr().String()},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = panel.Close() }()

	for v := range panel.Watch(ctx) {
		if m, _ := v.Member(press.ID()); m.State == view.Alive && slices.Contains(m.Capabilities, "plc") {
			fmt.Println(m.Name, "of line", m.Tags["line"])
			break
		}
	}
	alarms := panel.Subscribe(ctx, "alarm") // it begins here, and not with the loop
	if err := press.Publish(ctx, "alarm", []byte("81 degrees")); err != nil {
		fmt.Println(err)
	}
	for m, err := range alarms {
		fmt.Println(m.Topic, string(m.Payload), m.From == press.ID(), err)
		break
	}
	// Output:
	// press of line 1
	// alarm 81 degrees true <nil>
}
