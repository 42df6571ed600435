// Package fits proves that the public packages fit each other although none
// imports another. It stands apart so that the rules can be checked while one
// of them does not compile.
package fits

import (
	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/ledger"
	"github.com/skeinmesh/skein/backup/peers"
	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/dns"
	"github.com/skeinmesh/skein/failover/forward"
	"github.com/skeinmesh/skein/failover/vip"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

var _ replica.Mesh = (*mesh.Node)(nil)

var _ failover.Mesh = (*mesh.Node)(nil)

var _ failover.Records = (*replica.Records)(nil)

var _ backup.Mesh = (*mesh.Node)(nil)

var _ backup.Store = (*replica.Store)(nil)

var _ backup.Target = (*replica.Store)(nil)

var _ backup.Target = (*replica.Client)(nil)

var _ backup.Values = (*replica.Values)(nil)

var _ backup.Handler = (*mesh.Node)(nil)

var _ backup.Caller = (*mesh.Client)(nil)

var _ ledger.Mesh = (*mesh.Node)(nil)

var _ ledger.Writes = (*replica.Writes)(nil)

var _ ledger.Handler = (*mesh.Node)(nil)

var _ ledger.Caller = (*mesh.Client)(nil)

var _ = backup.Config{Enter: (*ledger.Ledger)(nil).EnterManifest}

var _ dns.Routes = (*failover.Failover)(nil)

var _ forward.Routes = (*failover.Failover)(nil)

var _ vip.Lease = failover.Run{}

var _ vip.Mesh = (*mesh.Node)(nil)

var _ peers.Mesh = (*mesh.Node)(nil)
