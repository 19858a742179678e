package boltstore

import (
	"log/slog"
	"time"
)

// A clock is the time at open plus the monotonic time since.
type clock struct {
	base  time.Time // what the clock showed at start
	start time.Time // carries a monotonic reading
}

// newClock starts at the later of the wall clock and the last commit.
func newClock(o Options, lastCommit time.Time) clock {
	wall := o.WallClock().UTC()
	base := wall
	if wall.Before(lastCommit) {
		if o.TrustWallClock {
			o.Logger.Warn("wall clock is behind the last commit and is trusted all the same",
				slog.Time("wall", wall), slog.Time("commit", lastCommit))
		} else {
			base = lastCommit
			o.Logger.Warn("wall clock is behind the last commit: the store's clock runs ahead of it",
				slog.Time("wall", wall), slog.Time("commit", lastCommit), slog.Duration("ahead", lastCommit.Sub(wall)))
		}
	}
	return clock{base: base.Round(0), start: time.Now()}
}

func (c clock) now() time.Time {
	return c.base.Add(time.Since(c.start)).Truncate(time.Microsecond)
}
