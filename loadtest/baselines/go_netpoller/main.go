// Go echo, the classic: one goroutine per connection, a buffered reader and writer of 4 KB each, a read deadline
// before every read. `baseline_go_netpoller ADDR:PORT [CPU]`; the descriptor limit is raised by Go's own start.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const (
	bufferSize  = 4096
	readTimeout = 5 * time.Minute
	// Pause when accept fails for want of descriptors: the queue is still full, so retrying at once would spin.
	acceptPause = 10 * time.Millisecond
	coresMax    = 1024
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: %s ADDR:PORT [CPU]", os.Args[0])
	}
	if len(os.Args) > 2 {
		startAgainOn(os.Args[2])
	}
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fail("%v", err)
	}
	fmt.Printf("listening %v\n", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			time.Sleep(acceptPause)
			continue
		}
		go echo(connection)
	}
}

// A failed connection ends like a finished one: the client sees it and counts it.
func echo(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, bufferSize)
	writer := bufio.NewWriterSize(connection, bufferSize)
	for {
		if err := connection.SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
			return
		}
		if _, err := reader.Peek(1); err != nil {
			return
		}
		received, _ := reader.Peek(reader.Buffered())
		if _, err := writer.Write(received); err != nil || writer.Flush() != nil {
			return
		}
		reader.Discard(len(received))
	}
}

// The runtime has started threads by now, and each has an affinity of its own. Executed again, the process has one
// thread, with that of the caller, and all that it starts inherit it.
func startAgainOn(core string) {
	number, err := strconv.Atoi(core)
	if err != nil || number < 0 || number >= coresMax {
		fail("%q is not the number of a core", core)
	}
	var mask [coresMax / 64]uint64
	mask[number/64] = 1 << (number % 64)
	runtime.LockOSThread()
	size, address := unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask))
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, size, address); errno != 0 {
		fail("core %d is not available to this process: %v", number, errno)
	}
	program, err := os.Executable()
	if err != nil {
		fail("cannot tell where this program is: %v", err)
	}
	err = syscall.Exec(program, os.Args[:2], os.Environ())
	fail("cannot start again: %v", err)
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}
