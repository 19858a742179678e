package attack

// A Technique is one way to attack the promises. What it is to find it must be able to find: the faults of package planted that name it
// are its controls.
type Technique struct {
	Name    string   // a word, as on the command line
	Promise string   // what must hold, with the numbers of the invariants it is about: "nothing acknowledged is lost (I1, I3)"
	Unit    string   // what is counted: "rounds"
	CI      int      // how many units each change gets
	Release int      // how many a release gets
	Control int      // within how many units a planted fault must be found
	Minutes float64  // about how long Release takes on two cores
	Needs   []string // programs; where one is missing the technique is skipped. Installed from Debian where that can be done
	Root    bool     // needs root
	Files   []string // needs these files, such as devices
	Apart   bool     // each change gets it in another step of CI, where it is named

	Run func(*Run)
	// Child, if set, is what a process started by Command does. It gets the arguments given there and returns the exit status.
	Child func(args []string) int
}
