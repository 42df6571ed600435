// Package golden holds what is sent as JSON to the form that it has: programs of others
// read it.
package golden

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// CheckJSON compares v as JSON with the file testdata/NAME.json of the package under test,
// and reads that back. Every exported field of v must be set, so that none is forgotten in
// the file. Where SKEIN_WRITE_GOLDEN is set, a file that is not there is written.
func CheckJSON[T any](t *testing.T, name string, v T) {
	t.Helper()
	for _, field := range findUnset(reflect.ValueOf(v), name) {
		t.Errorf("%s is not set", field)
	}
	got, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".json")
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) && os.Getenv("SKEIN_WRITE_GOLDEN") != "" {
		want, err = append(got, '\n'), os.WriteFile(path, append(got, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(got, '\n'), want) {
		t.Errorf("%s is now\n%s\nand was\n%s", name, got, want)
	}
	var back T
	if err := json.Unmarshal(want, &back); err != nil || !reflect.DeepEqual(v, back) {
		t.Errorf("%s is read back as\n%+v, %v, want\n%+v", name, back, err, v)
	}
}

// findUnset lists exported fields that are zero, or lists and maps that are empty.
func findUnset(v reflect.Value, name string) (out []string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return findUnset(v.Elem(), name)
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, findUnset(v.Index(i), name)...)
		}
		if v.Len() == 0 {
			return []string{name}
		}
		return out
	case reflect.Map:
		if v.Len() == 0 {
			return []string{name}
		}
	case reflect.Struct:
		if _, isText := v.Interface().(interface{ MarshalText() ([]byte, error) }); isText {
			break
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out = append(out, findUnset(v.Field(i), name+"."+f.Name)...)
			}
		}
		return out
	}
	if v.IsZero() {
		return []string{name}
	}
	return nil
}
