package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/skeinmesh/skein/internal/wire"
)

// DescribeDifference says in which fields the definition of a bucket differs from those
// that the mesh has of its name.
func DescribeDifference(b *Bucket, in []*Bucket) string {
	var told []string
	for _, other := range in {
		if other.ID != b.ID {
			told = append(told, describeFields(&b.Def, &other.Def))
		}
	}
	return strings.Join(told, "; ")
}

func describeFields(here, there *wire.BucketDef) string {
	var fields []string
	add := func(name string, here, there any) {
		fields = append(fields, fmt.Sprintf("%s is %v here and %v in the mesh", name, here, there))
	}
	if here.Copies != there.Copies {
		add("Copies", here.Copies, there.Copies)
	}
	if here.Siblings != there.Siblings {
		policy := map[bool]string{false: "LastWriterWins", true: "Siblings"}
		add("Policy", policy[here.Siblings], policy[there.Siblings])
	}
	if !slices.Equal(here.Zones, there.Zones) {
		add("Zones", fmt.Sprintf("%q", here.Zones), fmt.Sprintf("%q", there.Zones))
	}
	return strings.Join(fields, ", ")
}
