package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

// Client looks after services through a node, as a program that is no node. The node must allow
// admin requests and have opened a Failover; else the errors are those of its Caller. Beside the
// errors of the Failover's methods, which errors.Is finds, there are those of the Caller. All
// methods may be used concurrently.
type Client struct{ node Caller }

// NewClient returns a Client that asks a node.
func NewClient(node Caller) *Client { return &Client{node} }

// Services returns what Failover.Status does at the node.
func (c *Client) Services(ctx context.Context) ([]Status, error) {
	a, err := c.askNode(ctx, request{Do: "services"})
	return a.Services, err
}

// Plans returns what Failover.Plans does.
func (c *Client) Plans(ctx context.Context) ([]service.Plan, error) {
	a, err := c.askNode(ctx, request{Do: "plans"})
	return a.Plans, err
}

// SetPlan does what Failover.SetPlan does. The warnings are in words.
func (c *Client) SetPlan(ctx context.Context, p service.Plan) (warnings []string, err error) {
	a, err := c.askNode(ctx, request{Do: "set plan", Plan: &p})
	return a.Warnings, err
}

// DropPlan does what Failover.DropPlan does.
func (c *Client) DropPlan(ctx context.Context, name string, mode service.Mode) error {
	_, err := c.askNode(ctx, request{Do: "drop plan", Service: name, Mode: mode})
	return err
}

// Move has the node that runs a service, whichever that is, do what Failover.Move does. The
// error is ErrNotServed where nobody is known to run it.
func (c *Client) Move(ctx context.Context, name, to string) error {
	_, err := c.askNode(ctx, request{Do: "move", Service: name, Node: to})
	return err
}

// Drill has the node that runs a service, whichever that is, do what Failover.Drill does. The
// error is ErrNotServed where nobody is known to run it.
func (c *Client) Drill(ctx context.Context, name string) error {
	_, err := c.askNode(ctx, request{Do: "drill", Service: name})
	return err
}

// History returns what Failover.History does, about half a MiB of it at most.
func (c *Client) History(ctx context.Context, name string, since time.Time, limit int) ([]Event, error) {
	a, err := c.askNode(ctx, request{Do: "history", Service: name, Since: since, Limit: limit})
	return a.Events, err
}

// Resolve returns what Failover.Resolve does.
func (c *Client) Resolve(ctx context.Context, name string) (Route, error) {
	a, err := c.askNode(ctx, request{Do: "resolve", Service: name})
	return a.Route, err
}

func (c *Client) askNode(ctx context.Context, r request) (a answer, err error) {
	req, err := json.Marshal(r)
	if err != nil {
		return a, fmt.Errorf("failover: %s: %w", r.Do, err)
	}
	text, err := c.node.Call(ctx, methodAdmin, req)
	if err != nil {
		return a, fmt.Errorf("failover: %s: %w", r.Do, err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return answer{}, fmt.Errorf("failover: %s: read the answer: %w", r.Do, err)
	}
	return a, a.toError()
}
