package toy

import "testing"

func TestWithin(t *testing.T) {
	if !Within(3, 3) || Within(4, 3) {
		t.Error("the limit is inclusive")
	}
}

func TestLast(t *testing.T) {
	if Last([]int{1, 2}) != 2 {
		t.Error("last of two")
	}
}

func TestBroken(t *testing.T) { t.Error("fails by itself") }

func TestEmpty(t *testing.T) {
	if Last(nil) != 0 {
		t.Error("last of none")
	}
}
