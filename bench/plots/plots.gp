# SPDX-License-Identifier: BSL-1.0
# Draws the pictures from the data of report.py. Run in the folder of the data.
set datafile separator "\t"
set datafile missing "nan"
set terminal svg size 760,430 font "sans-serif,12" background "#ffffff" noenhanced
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror

set output "cost.svg"
set title "One I/O, one thread: nanoseconds (less is better)"
set style fill solid 0.8
set boxwidth 0.7
set xtics rotate by -40
set bmargin 10
set rmargin 20
set logscale y
set yrange [1:*]
unset key
plot "cost.tsv" using 0:2:xtic(1) every ::1 with boxes lc rgb "#3b6ea5", \
     "" using 0:2:(sprintf("%.0f", $2)) every ::1 with labels offset 0,0.7

reset
set datafile separator "\t"
set datafile missing "nan"
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror
set key outside right top Left reverse
set xlabel "threads"
set xtics 1
set style data linespoints
set pointsize 0.7

set output "scaling.svg"
set title "Distinct requests: million I/Os per second, all threads together"
set logscale y
plot for [i=2:5] "scaling.tsv" using 1:i title columnheader(i) lw 2

set output "contention.svg"
set title "All threads on one request, or one bitmap: nanoseconds per operation of any thread"
unset logscale y
set yrange [0:*]
plot for [i=2:6] "contention.tsv" using 1:i title columnheader(i) lw 2

set output "pipeline.svg"
set title "One bio, from submit to end: nanoseconds"
set xlabel "bios in flight"
set logscale x 2
set xtics (1, 8, 32, 256, 1024)
set logscale y
set yrange [10:*]
plot for [i=2:4] "pipeline.tsv" using 1:i title columnheader(i) lw 2
