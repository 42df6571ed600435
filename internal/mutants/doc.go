// Command mutants proves that the tests of the safety rules can fail. It takes
// one rule at a time out of the code, by an edit that exists only in the view
// of the compiler (go test -overlay), runs the tests that defend the rule, and
// names the one that caught it. A mutant that no test catches, or whose text
// is no longer in the code exactly once, is a fault, and the exit status is 1.
// A file of mutants that cannot be read stops it with status 2.
//
//	go run ./internal/mutants [-run regexp] [-share 1/4] [-v] [-timeout 2m]
//
// All of them take a quarter of an hour of two processors. -share K/N looks at
// all for stale ones and tries every N-th, beginning with the K-th: N runs with
// growing K try each once. The order is that of directories and then of names.
//
// # Where mutants stand
//
// The mutants of a package are in testdata/mutants.txt of its directory. The
// first line is the same in all these files. Then come the mutants, each after
// one empty line:
//
//	name: storage-ack-before-sync
//	rule: nothing unsynced is shown (protocol 0.5)
//	file: commit.go
//	tests: TestGate|TestCrash
//	packages: ./internal/storage ./replica
//	-	if err := s.sync(); err != nil {
//	-		return err
//	-	}
//	-
//	+	_ = s.sync
//	+
//
// A field is its word, a colon, a space and the value, which neither begins nor
// ends with a space. The fields stand in this order, each once:
//
//   - name: what goes wrong, in a few words with dashes; unique in the module.
//   - rule: the rule that is taken out, and where it is written.
//   - file: the file to edit, in the same directory.
//   - tests: the tests to run, a regular expression as for go test -run.
//   - packages: whose tests they are, separated by spaces. The field is left
//     out when that is the package of the file alone, as it mostly is.
//
// Then come the lines of the old text, which must be in the file exactly once,
// and those of the new one that replaces it. What follows the "-" or "+" up to
// the end of the line is taken as it is, every space and tab of it, and nothing
// is escaped. Newlines stand between the lines of a text, not after the last
// one. So a text may begin and end within a line of the code. One that ends
// with a newline, as both do above, has an empty line last. A new text that is
// empty has no line.
package main
