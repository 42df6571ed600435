package view

import (
	"encoding/json"
	"testing"
)

// In JSON ids are text, both ways.
func TestIDsAreTextInJSON(t *testing.T) {
	type both struct {
		Node NodeID
		Mesh MeshID
		List []NodeID
	}
	in := both{1<<63 + 1, MeshID{1, 2, 0xff}, []NodeID{0, 7}}
	b, err := json.Marshal(in)
	want := `{"Node":"8000000000000001","Mesh":"0102ff00000000000000000000000000","List":["0000000000000000","0000000000000007"]}`
	if err != nil || string(b) != want {
		t.Fatalf("%s, %v", b, err)
	}
	var out both
	if err := json.Unmarshal(b, &out); err != nil || out.Node != in.Node || out.Mesh != in.Mesh || out.List[1] != 7 {
		t.Errorf("%+v, %v", out, err)
	}
	for _, bad := range []string{`{"Node":"1"}`, `{"Node":"800000000000000g"}`, `{"Mesh":"0102"}`, `{"Mesh":"0102ff0000000000000000000000000000"}`} {
		if err := json.Unmarshal([]byte(bad), &out); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
