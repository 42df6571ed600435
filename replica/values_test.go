package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/replica/slice"
)

// Values are read and written as they are, many and large ones; a write replaces what its read has
// seen, and a writer at the same moment is told of.
func TestValuesTellOfARace(t *testing.T) {
	bubble(t, 3, BucketConfig{MaxValue: 2 << 20}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx, v := context.Background(), NewValues(buckets[0])
		keys := []string{"", strings.Repeat("k", 2000), "raced", "deleted", "large", "larger", "too large"}
		for i := range 1100 {
			keys = append(keys, fmt.Sprint("k", i))
		}
		if _, err := buckets[1].Put(ctx, "deleted", []byte("v"), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := buckets[1].Delete(ctx, "deleted", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := v.ReadValues(ctx, "another", keys[3:]); !errors.Is(err, ErrNoBucket) {
			t.Error(err)
		}
		is, err := v.ReadValues(ctx, "b", keys[2:])
		if err != nil || len(is) != len(keys)-2 || is[0].Known || !is[1].Known || is[1].Live {
			t.Fatalf("%+v, %v", is[:2], err)
		}
		in := []slice.Anew{{Key: "blind", Values: [][]byte{[]byte("v")}}}
		for i, c := range is {
			value := []byte("value")
			if strings.HasPrefix(keys[i+2], "large") || keys[i+2] == "too large" {
				value = make([]byte, 3<<19+len(keys[i+2])<<16)
			}
			in = append(in, slice.Anew{Key: keys[i+2], Values: [][]byte{value}, Seen: c.Seen})
		}
		if _, err := buckets[2].Put(ctx, "raced", []byte("at the same moment"), nil); err != nil {
			t.Fatal(err)
		}
		out := v.WriteValues(ctx, "b", in)
		for i, o := range out {
			wrong := in[i].Key == "blind" || in[i].Key == "too large"
			if (o.Err != nil) != wrong || o.Raced != (in[i].Key == "raced") {
				t.Errorf("%.20q: %+v", in[i].Key, o)
			}
		}
		if it, err := buckets[1].Get(ctx, "raced", nil); err != nil || len(it.Siblings()) != 2 {
			t.Errorf("%q, %v", it.Siblings(), err)
		}
		wantValue(t, buckets[1], "k1099", "value")
		if out := v.WriteValues(ctx, "another", in[1:3]); !errors.Is(out[0].Err, ErrNoBucket) || !errors.Is(out[1].Err, ErrNoBucket) {
			t.Errorf("%+v", out)
		}
	})
}
