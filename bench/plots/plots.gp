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
set style fill solid 0.8 noborder
set lmargin 30
set rmargin 6
set xrange [0:*]
set offsets 0, 0, 0.5, 0.5
set grid noytics xtics lc rgb "#dddddd"
set ytics scale 0
unset key
bar(column_of_kind, kind) = column(column_of_kind) == kind ? column(3) : NaN
plot for [kind=0:1] "cost.tsv" \
       using (bar(4, kind)):1:(0):(bar(4, kind)):($1-0.4):($1+0.4):ytic(2) \
       with boxxyerror lc rgb (kind == 1 ? "#c8553d" : "#8aa4bf"), \
     "" using 3:1:(sprintf("%.1f", $3)) with labels left offset 0.5,0

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
set title "Distinct requests: million I/Os per second, all threads"
set logscale y
plot for [i=2:5] "scaling.tsv" using 1:i title columnheader(i) lw 2

set output "contention.svg"
set title "All threads on one request, or one bitmap: nanoseconds per operation"
set offsets 0.3, 0.3, 0, 0
unset logscale y
set yrange [0:*]
plot for [i=2:6] "contention.tsv" using 1:i title columnheader(i) with points pt (i+3) ps 1.3

set output "pipeline.svg"
set offsets 0, 0, 0, 0
set title "One bio, from submit to end: nanoseconds"
set xlabel "bios in flight"
set logscale x 2
set xtics (1, 8, 32, 256, 1024)
set logscale y
set yrange [10:*]
plot for [i=2:5] "pipeline.tsv" using 1:i title columnheader(i) lw 2
