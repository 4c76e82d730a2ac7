# SPDX-License-Identifier: BSL-1.0
# Draws the pictures from the data of report.py. Run in the folder of the data. Each picture names the
# machine and the compiler.
set datafile separator "\t"
set datafile missing "nan"
machine = system("cat machine.txt")
library_color = "#c8553d"
other_color = "#8aa4bf"

set terminal svg size 760,450 font "sans-serif,12" background "#ffffff" noenhanced
set border 3
set tics nomirror
set style fill solid 0.8 noborder
set label 1 machine at screen 0.985,0.025 right font "sans-serif,10" textcolor rgb "#777777"
set bmargin 5

# --- horizontal bars, grouped by cycle ---

set output "cost.svg"
set title "Nanoseconds for an I/O on one thread (a shorter bar is better)"
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
       with boxxyerror lc rgb (kind == 1 ? library_color : other_color), \
     "" using 3:1:(sprintf("%.1f", $3)) with labels left offset 0.5,0

# --- points for each number of threads, named at the axis; equal ones are seen around each other ---

array thread_colors[5] = ["#9bb8d3", "#3d6fa5", "#1f3d63", "#b08b2e", "#c8553d"]
set lmargin 40
set rmargin 4
set offsets 0, 0, 0, 0
set grid xtics ytics lc rgb "#dddddd"
set key outside top center horizontal

set output "contention.svg"
set title "All threads on the same: nanoseconds that an operation takes its thread"
set yrange [-4.6:0.6]
stats "contention.tsv" skip 1 nooutput
plot for [i=3:STATS_columns] "contention.tsv" using i:1:ytic(2) title columnheader(i) \
       with points pt 7 ps 2.0-0.35*((i-3) % 5) lc rgb thread_colors[(i-3) % 5 + 1]

set output "scaling.svg"
set title "Each thread on its own: throughput of all threads, in units of one thread's"
set yrange [-3.6:0.6]
stats "scaling.tsv" skip 1 nooutput
plot for [i=3:STATS_columns] "scaling.tsv" using i:1:ytic(2) title columnheader(i) \
       with points pt 7 ps 2.0-0.35*((i-3) % 5) lc rgb thread_colors[(i-3) % 5 + 1]

# --- two panels over the bios in flight, from 0 ---

array colors[3] = ["#3d6fa5", "#c8553d", "#5b8c5a"]
set output "pipeline.svg"
set multiplot layout 1,2
set lmargin 7
set rmargin 2
set tmargin 6
set yrange [0:*]
set grid ytics noxtics lc rgb "#dddddd"
set ytics scale 1 autofreq
set xlabel "bios in flight"
set logscale x 2
set xrange [1:1024]
set xtics (1, 8, 32, 256, 1024)
set key at screen 0.5,0.97 center top horizontal maxrows 1
set title "One bio, from submit to end: nanoseconds"
plot for [i=2:4] "pipeline_ns.tsv" using 1:i title columnheader(i) \
       with linespoints lw 2 pt 7 ps 0.7 lc rgb colors[i-1]
unset key
unset label 1
set title "One bio, from submit to end: instructions"
plot for [i=2:4] "pipeline_instructions.tsv" using 1:i notitle \
       with linespoints lw 2 pt 7 ps 0.7 lc rgb colors[i-1]
unset multiplot
