package main

import "testing"

func TestStepsOfAGroupStayTogether(t *testing.T) {
	tab := &table{}
	for range 5 {
		for _, group := range []string{"a", "b", "c"} {
			tab.stepIn(group, "", nil)
		}
	}
	for range 100 {
		var groups []string
		for _, s := range tab.shuffled() {
			if len(groups) == 0 || groups[len(groups)-1] != s.group {
				groups = append(groups, s.group)
			}
		}
		if len(groups) != 3 {
			t.Fatalf("got the groups in the order %q", groups)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0123: "0.0123", 4.567: "4.57", 61234: "61,200", 1234567: "1,230,000", 999.6: "1,000", 100: "100", 12: "12", -1500: "-1,500", 0.1: "0.1",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%v): got %q, want %q", v, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{5, 1, 9}); got != 5 {
		t.Errorf("of three: got %v, want 5", got)
	}
	if got := median([]float64{5, 1, 9, 7}); got != 6 {
		t.Errorf("of four: got %v, want 6", got)
	}
}
