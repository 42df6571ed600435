package backup

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"
)

// MaxObject is the largest object that a Tier is asked to keep, in bytes.
const MaxObject = 16 << 20

var (
	// ErrNoObject says that a tier has no object of this name.
	ErrNoObject = errors.New("no such object")
	// ErrTierFull says that a tier takes nothing more until something is deleted.
	ErrTierFull = errors.New("the tier is full")
	// ErrBadName says that a name is none of an object; see CheckName.
	ErrBadName = errors.New("not the name of an object")
	// ErrDenied says that a tier refuses what was asked, as one does to whoever may only put.
	ErrDenied = errors.New("the tier does not allow it")
)

// Tier keeps objects: immutable runs of bytes under names. Package tiertest shows whether an
// implementation keeps what is promised here. Nothing is coordinated over a tier: each node writes
// under names that no other node uses.
//
// All methods refuse a bad name with ErrBadName. They may be used concurrently, and end with their context, with an error that wraps
// that of the context. What is not one of the errors above may be tried again.
type Tier interface {
	// Put keeps an object of at most MaxObject bytes; more is an error. When it returns nil the
	// object outlives a loss of power. When it returns an error, or never, the object is there as
	// a whole, or is not there, or is as it was. To put the same bytes under the same name again
	// changes nothing. The tier holds on to data no longer than the call. Where "a/b" is kept a
	// tier may refuse "a", and the other way round, as one made of directories must.
	Put(ctx context.Context, name string, data []byte) error

	// Get returns an object, or ErrNoObject; the bytes belong to the caller. One that is larger
	// than most is an error, and not read.
	Get(ctx context.Context, name string, most int) ([]byte, error)

	// Stat tells of an object without reading it; ErrNoObject where there is none.
	Stat(ctx context.Context, name string) (Object, error)

	// List tells of all objects of which the names begin with the prefix, in the order of the bytes
	// of their names; none, if no name can begin so. What is put or deleted meanwhile may be among them or not. It ends with the first
	// error.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// Delete has an object gone. It is no error if there is none.
	Delete(ctx context.Context, name string) error
}

// Object is what a Tier tells of an object.
type Object struct {
	Name string
	Size int64
	// Time is when the object was put, by the clock of the tier; zero where it has none.
	Time time.Time
}

// CheckName returns ErrBadName unless a name is one to four parts of at most 64 lower case
// letters, digits, dots and dashes each, with slashes between them, none of which begins with a dot.
func CheckName(name string) error {
	parts, length := 1, 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '/' && length > 0:
			parts, length = parts+1, 0
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.' && length > 0:
			length++
		default:
			return ErrBadName
		}
		if length > 64 || parts > 4 {
			return ErrBadName
		}
	}
	if length == 0 {
		return ErrBadName
	}
	return nil
}

// BeginsNames tells whether a name can begin with the prefix: what List is asked for else there is
// none of.
func BeginsNames(prefix string) bool {
	return prefix == "" || CheckName(strings.TrimSuffix(prefix, "/")) == nil
}
