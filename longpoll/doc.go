// Package longpoll is a condition variable whose condition lives elsewhere, one per key, for very many waiters.
//
// A consumer waits with [Lines.Wait], which calls a function of the consumer's (the look) until it succeeds and sleeps in between.
// Whoever may have made such a look succeed says so with [Lines.Signal] or [Lines.Broadcast]. Unlike with sync.Cond the waiting ends
// with a context, waiters are woken in the order of their coming, and canceling one of them wakes no other.
//
//	var lines longpoll.Lines[string, *job]
//	go func() {
//		store.put("mail", j)
//		lines.Signal("mail", 1)
//	}()
//	_, err := lines.Wait(ctx, "mail", nil, func() (bool, error) { return store.take("mail", &j) })
//
// # What holds
//
// No wake-up is lost. A waiter is in line before it looks, so a signal that comes while it looks makes it look again. Whoever leaves
// the line with a signal it has not used (its context ended, its look failed, or it had taken something before the signal
// came) passes that signal on to the next in line. So, once all is quiet, either nobody waits or there was nothing to take.
//
// A signal wakes whoever waited longest; a waiter that looked in vain has its old place again.
//
// A waiter costs nothing while it waits: one goroutine asleep in a select, no looks. Whoever comes while another sleeps does not look
// at all, so that a crowd costs its first member. Beside a goroutine asleep on a channel
// of its own it takes some 70 bytes more of about 2,500, and waking it about twice the time (BenchmarkMemory and BenchmarkWake).
//
// # Handing over
//
// [Lines.Reserve] takes the longest waiter out of line without waking it, so that a value can be given to it directly: the
// value given to Wait is where to put it. A reserved waiter stays until its [Reservation] is handed over or released, even when its
// context ends: whoever reserves settles it soon, and in any case.
package longpoll
