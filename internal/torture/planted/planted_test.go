package planted

import "testing"

// Who moves or changes a line that a fault replaces learns it here, and not from the next release's torture.
func TestWhatEachFaultReplacesStandsOnceInItsFile(t *testing.T) {
	t.Chdir("..") // where the torture is run
	for _, f := range Faults {
		if _, err := f.overlay(t.TempDir()); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}
