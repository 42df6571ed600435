package main

import (
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

const (
	monitoring = "production-monitoring"
	quality    = "quality-control"

	announce = "announce" // the procedure that tells all nodes where a service runs now
)

func allPlans() []service.Plan { return []service.Plan{monitoringPlan(), qualityPlan()} }

// monitoringPlan: one in the whole factory watches the lines, at line A if that can be.
func monitoringPlan() service.Plan {
	return service.Plan{
		Service: monitoring, Mode: service.Exclusive,
		Primary: "line-a-1", Backups: []string{"line-a-2", "line-b-1", "warehouse"},
		Conditions: []string{service.ConditionNode, service.ConditionPartition},
		Procedures: []string{service.ProcedureSync, service.ProcedureRestart, service.ProcedureRoute, announce},
		Drill:      service.Drill{Schedule: "weekly"},
		FailBack:   service.FailBackAfter, After: failBackAfter,
		Check: service.Check{Interval: time.Second, Timeout: 2 * time.Second},
	}
}

// qualityPlan: each part of a cut factory goes on with it.
func qualityPlan() service.Plan {
	return service.Plan{
		Service: quality, Mode: service.PerComponent,
		Primary: "quality-control", Backups: []string{"warehouse", "line-b-1", "line-a-1"},
		Conditions: []string{service.ConditionNode},
		Procedures: []string{service.ProcedureRestart, service.ProcedureRoute, announce},
		Drill:      service.Drill{Schedule: "monthly"},
		FailBack:   service.FailBackAfter, After: failBackAfter,
		Check: service.Check{Interval: time.Second, Timeout: 2 * time.Second},
	}
}
