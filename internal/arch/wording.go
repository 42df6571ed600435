package arch

import (
	"go/ast"
	"go/scanner"
	"go/token"
	"regexp"
	"slices"
)

// aboutData are the packages whose subject is data. There the word partition
// is misunderstood: a slice of the key space is a shard.
var aboutData = []string{"internal/placement", "internal/storage", "internal/reconcile", "internal/replicate", "replica"}

// consistentAPI are names of the consistent-hashing library, which calls a
// shard a partition.
var consistentAPI = []string{"FindPartitionID", "PartitionCount", "GetPartitionOwner", "GetClosestNForPartition", "LoadFactor"}

var (
	saysPartition = regexp.MustCompile(`(?i)partition`)
	// saysNetwork matches the uses that leave no doubt.
	saysNetwork = regexp.MustCompile(`(?i)network[ -]partition(s|ed)?|partition/token`)
)

// Wording finds the word partition in packages about data, in names, comments
// and strings, unless it is part of "network partition", the library's API,
// or a test's call that partitions its network.
func Wording(r *Repo) (faults []Fault) {
	for _, f := range r.Files {
		if !isUnder(f.Dir, aboutData) {
			continue
		}
		allowed := networkCalls(f)
		fset := token.NewFileSet()
		file := fset.AddFile(f.Path, -1, len(f.Text))
		var s scanner.Scanner
		s.Init(file, []byte(f.Text), nil, scanner.ScanComments)
		for {
			pos, tok, text := s.Scan()
			if tok == token.EOF {
				break
			}
			if tok == token.IDENT && (slices.Contains(consistentAPI, text) || allowed[int(file.Offset(pos))]) {
				continue
			}
			if saysPartition.MatchString(saysNetwork.ReplaceAllString(text, "")) {
				faults = append(faults, Fault{f.Path, fset.Position(pos).Line, `"partition" names data here; say shard`})
			}
		}
	}
	return faults
}

// networkCalls returns the offsets of the method name in calls like
// net.Partition(a, b), which only tests make.
func networkCalls(f *File) map[int]bool {
	calls := map[int]bool{}
	if !f.Test {
		return calls
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Partition" {
				calls[f.repo.fset.Position(sel.Sel.Pos()).Offset] = true
			}
		}
		return true
	})
	return calls
}

// isUnder tells whether dir is one of the directories or below one.
func isUnder(dir string, dirs []string) bool {
	for _, d := range dirs {
		if dir == d || len(dir) > len(d) && dir[:len(d)+1] == d+"/" {
			return true
		}
	}
	return false
}
