package main

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/backup"
)

func TestLevelsInWords(t *testing.T) {
	for want, l := range map[string]backup.LevelStatus{
		"waits": {},
		"runs, too long ago, 1 slice too long ago, 2 manifests not in the ledger, failed: no; room": {
			Running: true, Missed: true, Bare: 1, Unentered: 2, Error: "no\nroom", LastGood: time.Unix(1, 0),
		},
	} {
		if got := levelCells(l)[3]; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
