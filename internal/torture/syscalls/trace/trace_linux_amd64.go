package trace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// Supported says whether processes can be traced here.
const Supported = true

const (
	sysSeccomp   = 317
	sysRenameat2 = 316

	optionSeccomp  = 0x80     // PTRACE_O_TRACESECCOMP
	optionExitKill = 0x100000 // PTRACE_O_EXITKILL
	eventSeccomp   = 7        // PTRACE_EVENT_SECCOMP
	waitNoThread   = 0x20000000
)

// kinds are the calls by which a process changes files, and those by which it gets hold of them.
var kinds = map[uint64]string{
	syscall.SYS_OPENAT: "openat", syscall.SYS_WRITE: "write", syscall.SYS_PWRITE64: "pwrite64", syscall.SYS_PWRITEV: "pwritev",
	syscall.SYS_FTRUNCATE: "ftruncate", syscall.SYS_FALLOCATE: "fallocate", syscall.SYS_FDATASYNC: "fdatasync", syscall.SYS_FSYNC: "fsync",
	syscall.SYS_LINKAT: "linkat", syscall.SYS_RENAMEAT: "renameat", sysRenameat2: "renameat2", syscall.SYS_UNLINKAT: "unlinkat",
	syscall.SYS_FLOCK: "flock", syscall.SYS_MMAP: "mmap",
}

// Watch has this process stopped, from now on and in all threads, at the calls of interest. It must have been started by Run.
func Watch() error {
	const (
		load, jumpIfEqual, ret = syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, syscall.BPF_RET
		allow, stop            = 0x7fff0000, 0x7ff00000 // SECCOMP_RET_ALLOW, SECCOMP_RET_TRACE
		setNoNewPrivs          = 38
		setModeFilter, allOf   = 1, 1 // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
	)
	filter := []syscall.SockFilter{{Code: load}} // the number of the call is first
	for number := range kinds {
		filter = append(filter, syscall.SockFilter{Code: jumpIfEqual, Jf: 1, K: uint32(number)}, syscall.SockFilter{Code: ret, K: stop})
	}
	filter = append(filter, syscall.SockFilter{Code: ret, K: allow})
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("no new privileges: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(sysSeccomp, setModeFilter, allOf, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// Run runs a program to its end, asks decide about each call, and returns how it ended. It is killed when ctx ends. Files are those from
// standard input on.
func Run(ctx context.Context, program string, args, env []string, files []*os.File, decide func(*Call) Decision) (syscall.WaitStatus, error) {
	type result struct {
		status syscall.WaitStatus
		err    error
	}
	done := make(chan result, 1)
	go func() {
		// All requests must come from one thread. It is not unlocked, so that it ends with this goroutine: nothing of the tracing is left.
		runtime.LockOSThread()
		status, err := trace(ctx, program, args, env, files, decide)
		done <- result{status, err}
	}()
	r := <-done
	return r.status, r.err
}

func trace(ctx context.Context, program string, args, env []string, files []*os.File, decide func(*Call) Decision) (status syscall.WaitStatus, err error) {
	p, err := os.StartProcess(program, append([]string{program}, args...), &os.ProcAttr{Env: env, Files: files, Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		return 0, err
	}
	defer p.Release()
	leader := p.Pid
	if _, err := syscall.Wait4(leader, &status, syscall.WALL, nil); err != nil { // it stands at its first instruction
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { syscall.Kill(leader, syscall.SIGKILL) })()
	if err := syscall.PtraceSetOptions(leader, syscall.PTRACE_O_TRACECLONE|optionSeccomp|optionExitKill); err != nil {
		return 0, end(leader, err)
	}
	t := tracer{leader: leader, decide: decide, known: map[int]bool{leader: true}, nth: make(map[string]int)}
	if err := goOn(leader, 0); err != nil {
		return 0, end(leader, err)
	}
	for {
		pid, err := syscall.Wait4(-1, &status, syscall.WALL|waitNoThread, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case status.Exited(), status.Signaled():
			if pid == leader {
				return status, nil
			}
			continue
		}
		if err := t.stopped(pid, status); err != nil {
			return 0, end(leader, err)
		}
	}
}

func end(leader int, err error) error {
	syscall.Kill(leader, syscall.SIGKILL)
	var status syscall.WaitStatus
	for !status.Exited() && !status.Signaled() {
		if _, werr := syscall.Wait4(leader, &status, syscall.WALL, nil); werr != nil && !errors.Is(werr, syscall.EINTR) {
			break
		}
	}
	return err
}

// goOn lets a thread that is stopped go on. One that was killed meanwhile is not there any more.
func goOn(pid, signal int) error {
	if err := syscall.PtraceCont(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("continue: %w", err)
	}
	return nil
}

// A tracer traces one process.
type tracer struct {
	leader int
	decide func(*Call) Decision
	known  map[int]bool // threads that were seen
	n      int
	nth    map[string]int
}

// stopped has a thread go on after a stop, whatever that was for.
func (t *tracer) stopped(pid int, status syscall.WaitStatus) error {
	first := !t.known[pid]
	t.known[pid] = true
	switch signal := status.StopSignal(); {
	case signal == syscall.SIGTRAP && status.TrapCause() == eventSeccomp:
		return t.call(pid)
	case signal == syscall.SIGTRAP && status.TrapCause() > 0, first && signal == syscall.SIGSTOP:
		return goOn(pid, 0) // a thread was begun
	default:
		return goOn(pid, int(signal))
	}
}

// call decides on a call.
func (t *tracer) call(pid int) error {
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(pid, &regs); errors.Is(err, syscall.ESRCH) {
		return nil
	} else if err != nil {
		return fmt.Errorf("registers: %w", err)
	}
	kind := kinds[regs.Orig_rax]
	if kind == "mmap" && int32(regs.R8) < 0 {
		return goOn(pid, 0) // memory of no file
	}
	t.n++
	t.nth[kind]++
	d := t.decide(&Call{N: t.n, Kind: kind, Nth: t.nth[kind], Args: [6]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9}})
	time.Sleep(d.Delay) // returns at once if it is none
	switch {
	case d.Kill:
		syscall.Kill(t.leader, syscall.SIGKILL)
		return nil
	case d.Error != 0:
		regs.Orig_rax, regs.Rax = ^uint64(0), uint64(-int64(d.Error))
	case d.Short:
		regs.Rdx /= 2
	default:
		return goOn(pid, 0)
	}
	if err := syscall.PtraceSetRegs(pid, &regs); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("registers: %w", err)
	}
	return goOn(pid, 0)
}
