package arch

import "testing"

var rules = []struct {
	name  string
	check func(*Repo) []Fault
}{
	{"Layers", Layers},
	{"RootEntries", RootEntries},
	{"Purity", Purity},
	{"Size", Size},
	{"Methods", Methods},
	{"Wording", Wording},
	{"Guest", Guest},
	{"Globals", Globals},
	{"Surface", Surface},
	{"Fits", Fits},
	{"Numbers", Numbers},
	{"Decoders", Decoders},
	{"References", References},
	{"Map", Map},
	{"Logs", Logs},
	{"Names", Names},
}

// TestRepository holds the repository to every rule.
func TestRepository(t *testing.T) {
	repo, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(repo.Files) < 20 || len(repo.Root) < 5 || len(repo.Docs) < 10 {
		t.Fatalf("found only %d files, %d other texts and the entries %v", len(repo.Files), len(repo.Docs), repo.Root)
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, fault := range rule.check(repo) {
				t.Error(fault)
			}
		})
	}
}
