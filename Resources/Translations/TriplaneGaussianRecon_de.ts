<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="de_DE">
<context>
    <name>SegmentEditorEffect</name>
    <message>
        <source>Fill by image</source>
        <translation type="unfinished">Füllen nach Bild</translation>
    </message>
    <message>
        <source>Fill segments between slices, guided by the image&lt;br&gt;. Instructions: &lt;p&gt;&lt;ul&gt;&lt;li&gt;Draw every segment on some slices, every eighth say, from where it begins to where it ends.&lt;li&gt;Press &lt;b&gt;Fill&lt;/b&gt;. All visible segments are filled. Look at the preview, and at the certainty.&lt;li&gt;Press &lt;b&gt;Draw slice ... next&lt;/b&gt;, draw there with any other effect, come back and fill again: that takes seconds. When content, press &lt;b&gt;Apply&lt;/b&gt;.&lt;/ul&gt;Slices on which nothing is drawn between drawn ones are filled. Masking settings are ignored.</source>
        <translation type="unfinished">Füllt Segmente zwischen Schichten, vom Bild geleitet&lt;br&gt;. Anleitung: &lt;p&gt;&lt;ul&gt;&lt;li&gt;Zeichnen Sie jedes Segment auf einigen Schichten, etwa auf jeder achten, von seinem Anfang bis zu seinem Ende.&lt;li&gt;Drücken Sie &lt;b&gt;Füllen&lt;/b&gt;. Alle sichtbaren Segmente werden gefüllt. Sehen Sie sich die Vorschau und die Sicherheit an.&lt;li&gt;Drücken Sie &lt;b&gt;Als Nächstes Schicht ... zeichnen&lt;/b&gt;, zeichnen Sie dort mit einem beliebigen anderen Effekt, kommen Sie zurück und füllen Sie erneut: Das dauert Sekunden. Wenn Sie zufrieden sind, drücken Sie &lt;b&gt;Anwenden&lt;/b&gt;.&lt;/ul&gt;Schichten ohne Zeichnung zwischen gezeichneten werden gefüllt. Masken-Einstellungen werden nicht beachtet.</translation>
    </message>
</context>
<context>
    <name>TriplaneGaussianRecon</name>
    <message>
        <source>Inputs</source>
        <translation type="unfinished">Eingaben</translation>
    </message>
    <message>
        <source>Input volume:</source>
        <translation type="unfinished">Eingangsvolumen:</translation>
    </message>
    <message>
        <source>The scan whose slices are sparse, thick or partly unusable. It is not changed.</source>
        <translation type="unfinished">Die Aufnahme, deren Schichten weit auseinander liegen, dick oder teilweise unbrauchbar sind. Sie wird nicht verändert.</translation>
    </message>
    <message>
        <source>Choose a volume</source>
        <translation type="unfinished">Volumen wählen</translation>
    </message>
    <message>
        <source>Try it</source>
        <translation type="unfinished">Ausprobieren</translation>
    </message>
    <message>
        <source>Load a sample scan and fill in the panel.</source>
        <translation type="unfinished">Lädt eine Beispielaufnahme und füllt das Panel aus.</translation>
    </message>
    <message>
        <source>What to do:</source>
        <translation type="unfinished">Aufgabe:</translation>
    </message>
    <message>
        <source>Segmentation:</source>
        <translation type="unfinished">Segmentierung:</translation>
    </message>
    <message>
        <source>Optional. Its segments are filled in on the slices on which they are not drawn yet, and between the used slices. It is not changed.</source>
        <translation type="unfinished">Freiwillig. Ihre Segmente werden auf den Schichten ergänzt, auf denen sie noch nicht gezeichnet sind, und zwischen den verwendeten Schichten. Sie wird nicht verändert.</translation>
    </message>
    <message>
        <source>None</source>
        <translation type="unfinished">Keine</translation>
    </message>
    <message>
        <source>Segments:</source>
        <translation type="unfinished">Segmente:</translation>
    </message>
    <message>
        <source>Only the checked segments are filled in.</source>
        <translation type="unfinished">Nur die angekreuzten Segmente werden ergänzt.</translation>
    </message>
    <message>
        <source>All frames of the sequence</source>
        <translation type="unfinished">Alle Bilder der Sequenz</translation>
    </message>
    <message>
        <source>Reconstruct every frame of the sequence that the volume shows, one after another. Otherwise only the frame that is shown.</source>
        <translation type="unfinished">Rekonstruiert alle Bilder der Sequenz, die das Volumen zeigt, eines nach dem anderen. Sonst nur das gezeigte Bild.</translation>
    </message>
    <message>
        <source>Further volumes of the same body</source>
        <translation type="unfinished">Weitere Volumen desselben Körpers</translation>
    </message>
    <message>
        <source>Volumes:</source>
        <translation type="unfinished">Volumen:</translation>
    </message>
    <message>
        <source>Check other scans of the same body, such as thick slices in other directions. Each is taken where its transforms put it, with the slices along its axis of the largest spacing. They are not changed. Click on a name for what is used of it.</source>
        <translation type="unfinished">Kreuzen Sie andere Aufnahmen desselben Körpers an, etwa dicke Schichten in anderen Richtungen. Jede wird dort genommen, wohin ihre Transformationen sie legen, mit den Schichten entlang der Achse mit dem größten Abstand. Sie werden nicht verändert. Klicken Sie auf einen Namen, um zu wählen, was davon verwendet wird.</translation>
    </message>
    <message>
        <source>Excluded slices:</source>
        <translation type="unfinished">Ausgeschlossene Schichten:</translation>
    </message>
    <message>
        <source>Slices of this volume that are not used, such as 0,1,5-7. Numbers count from 0.</source>
        <translation type="unfinished">Schichten dieses Volumens, die nicht verwendet werden, etwa 0,1,5-7. Gezählt wird ab 0.</translation>
    </message>
    <message>
        <source>none</source>
        <translation type="unfinished">keine</translation>
    </message>
    <message>
        <source>Optional: what is drawn on slices of this volume. All of its segments take part; those of equal name are the same in all volumes. It is not changed.</source>
        <translation type="unfinished">Freiwillig: was auf Schichten dieses Volumens gezeichnet ist. Alle Segmente nehmen teil; solche mit gleichem Namen sind in allen Volumen dieselben. Sie wird nicht verändert.</translation>
    </message>
    <message>
        <source>Find motion</source>
        <translation type="unfinished">Bewegung bestimmen</translation>
    </message>
    <message>
        <source>Find how each further volume lies to the input volume, and how their grey values compare. The result is left as a transform for each. Otherwise they are taken as they lie.</source>
        <translation type="unfinished">Bestimmt, wie jedes weitere Volumen zum Eingangsvolumen liegt, und wie sich ihre Grauwerte vergleichen. Das Ergebnis bleibt als eine Transformation für jedes. Sonst werden sie genommen, wie sie liegen.</translation>
    </message>
    <message>
        <source>Slice thickness (mm):</source>
        <translation type="unfinished">Schichtdicke (mm):</translation>
    </message>
    <message>
        <source>Over how many mm a slice averages: one number for all volumes, or one for each with commas between them, the input volume first, such as 4,3.5,0. Empty or 0 for the distance of the slices.</source>
        <translation type="unfinished">Über wie viele mm eine Schicht mittelt: eine Zahl für alle Volumen, oder eine für jedes, durch Kommas getrennt, das Eingangsvolumen zuerst, etwa 4,3.5,0. Leer oder 0 bedeutet den Abstand der Schichten.</translation>
    </message>
    <message>
        <source>Slice distance</source>
        <translation type="unfinished">Schichtabstand</translation>
    </message>
    <message>
        <source>Slice profile:</source>
        <translation type="unfinished">Schichtprofil:</translation>
    </message>
    <message>
        <source>How a slice averages: most MR is about Gaussian (the thickness is the full width at half maximum), averaged CT slices are boxes.</source>
        <translation type="unfinished">Wie eine Schicht mittelt: MR meist etwa nach Gauß (die Dicke ist die Halbwertsbreite), gemittelte CT-Schichten als Rechteck.</translation>
    </message>
    <message>
        <source>Slices</source>
        <translation type="unfinished">Schichten</translation>
    </message>
    <message>
        <source>Slice axis:</source>
        <translation type="unfinished">Schichtachse:</translation>
    </message>
    <message>
        <source>Across which axis of the volume the slices lie, between which something is missing.</source>
        <translation type="unfinished">Über welche Achse des Volumens die Schichten liegen, zwischen denen etwas fehlt.</translation>
    </message>
    <message>
        <source>Slices to use:</source>
        <translation type="unfinished">Zu verwendende Schichten:</translation>
    </message>
    <message>
        <source>Region:</source>
        <translation type="unfinished">Bereich:</translation>
    </message>
    <message>
        <source>Whole volume</source>
        <translation type="unfinished">Ganzes Volumen</translation>
    </message>
    <message>
        <source>Which slices the result is made from. Whatever is on the others, their image too, is not looked at. To fill a segmentation that is drawn on some slices, use all.</source>
        <translation type="unfinished">Aus welchen Schichten das Ergebnis entsteht. Was auf den anderen ist, auch ihr Bild, wird nicht angesehen. Um eine Segmentierung zu füllen, die auf einigen Schichten gezeichnet ist, verwenden Sie alle.</translation>
    </message>
    <message>
        <source>2 uses slices 0, 2, 4 and so on.</source>
        <translation type="unfinished">2 verwendet die Schichten 0, 2, 4 und so weiter.</translation>
    </message>
    <message>
        <source>N = </source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>So many slices are used, spread evenly, the first and the last among them.</source>
        <translation type="unfinished">So viele Schichten werden verwendet, gleichmäßig verteilt, darunter die erste und die letzte.</translation>
    </message>
    <message>
        <source> %</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slice numbers, counted from 0.</source>
        <translation type="unfinished">Nummern von Schichten, ab 0 gezählt.</translation>
    </message>
    <message>
        <source>0,4,8-20</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slices that are not used, damaged ones for example. Slice numbers, counted from 0.</source>
        <translation type="unfinished">Schichten, die nicht verwendet werden, zum Beispiel beschädigte. Nummern ab 0 gezählt.</translation>
    </message>
    <message>
        <source>Exclude current slice</source>
        <translation type="unfinished">Aktuelle Schicht ausschließen</translation>
    </message>
    <message>
        <source>Exclude the slice that the slice view shows.</source>
        <translation type="unfinished">Schließt die Schicht aus, die die Schichtansicht zeigt.</translation>
    </message>
    <message>
        <source>Labels from:</source>
        <translation type="unfinished">Label aus:</translation>
    </message>
    <message>
        <source>On which slices the segmentation is complete; on the others it is filled from their image. Drawn slices: those on which a chosen segment is drawn. Slices far from these count as empty, those between them as not drawn yet. A further run goes on from what the last one learnt; with another preset, other segments or another seed it starts anew.</source>
        <translation type="unfinished">Auf welchen Schichten die Segmentierung vollständig ist; auf den anderen wird sie aus deren Bild gefüllt. Gezeichnete Schichten: solche, auf denen ein gewähltes Segment gezeichnet ist. Schichten weit davon gelten als leer, solche dazwischen als noch nicht gezeichnet. Ein weiterer Lauf geht von dem aus, was der letzte gelernt hat; mit anderer Qualität, anderen Segmenten oder anderem Startwert beginnt er neu.</translation>
    </message>
    <message>
        <source>Slice numbers, counted from 0. One in the list on which nothing is drawn is empty.</source>
        <translation type="unfinished">Nummern von Schichten, ab 0 gezählt. Eine aus der Liste, auf der nichts gezeichnet ist, ist leer.</translation>
    </message>
    <message>
        <source>0,8,16</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Empty slices:</source>
        <translation type="unfinished">Leere Schichten:</translation>
    </message>
    <message>
        <source>Slices on which there truly is nothing to draw, so that nothing is filled there: 40,48-50 for example. Those far from drawn slices count as empty anyway. Slice numbers, counted from 0.</source>
        <translation type="unfinished">Schichten, auf denen es wirklich nichts zu zeichnen gibt, so dass dort nichts gefüllt wird: zum Beispiel 40,48-50. Solche weit von gezeichneten Schichten gelten ohnehin als leer. Nummern ab 0 gezählt.</translation>
    </message>
    <message>
        <source>Current slice is empty</source>
        <translation type="unfinished">Aktuelle Schicht ist leer</translation>
    </message>
    <message>
        <source>Nothing is to be filled on the slice that the slice view shows.</source>
        <translation type="unfinished">Auf der Schicht, die die Schichtansicht zeigt, ist nichts zu füllen.</translation>
    </message>
    <message>
        <source>Output</source>
        <translation type="unfinished">Ausgabe</translation>
    </message>
    <message>
        <source>Where the result goes. The content of a volume that is chosen here is replaced once the whole result is there, and stays if the folder of the results is deleted.</source>
        <translation type="unfinished">Wohin das Ergebnis kommt. Der Inhalt eines Volumens, das hier gewählt ist, wird ersetzt, sobald das ganze Ergebnis da ist, und bleibt, wenn der Ordner der Ergebnisse gelöscht wird.</translation>
    </message>
    <message>
        <source>Create new volume</source>
        <translation type="unfinished">Neues Volumen anlegen</translation>
    </message>
    <message>
        <source>Where the filled segmentation goes. The content of one that is chosen here is replaced once the whole result is there, and stays if the folder of the results is deleted.</source>
        <translation type="unfinished">Wohin die gefüllte Segmentierung kommt. Der Inhalt einer, die hier gewählt ist, wird ersetzt, sobald das ganze Ergebnis da ist, und bleibt, wenn der Ordner der Ergebnisse gelöscht wird.</translation>
    </message>
    <message>
        <source>Create new segmentation</source>
        <translation type="unfinished">Neue Segmentierung anlegen</translation>
    </message>
    <message>
        <source>Slice spacing:</source>
        <translation type="unfinished">Schichtabstand:</translation>
    </message>
    <message>
        <source>Distance between the slices of the result. Automatic: as in the input; if all slices are used and carry labels, as fine as the pixels.</source>
        <translation type="unfinished">Abstand der Schichten des Ergebnisses. Automatisch: wie im Eingang; werden alle Schichten verwendet und tragen Label, so fein wie die Pixel.</translation>
    </message>
    <message>
        <source> mm</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Automatic</source>
        <translation type="unfinished">Automatisch</translation>
    </message>
    <message>
        <source>Leave used slices as they are</source>
        <translation type="unfinished">Verwendete Schichten unverändert lassen</translation>
    </message>
    <message>
        <source>Image and segmentation of the slices that are not bad are in the result as they were, to the bit. Otherwise they come out of the model like the others, and differ by a little.</source>
        <translation type="unfinished">Bild und Segmentierung der Schichten, die nicht schlecht sind, stehen im Ergebnis genau so, wie sie waren. Sonst kommen auch sie aus dem Modell und weichen ein wenig ab.</translation>
    </message>
    <message>
        <source>Quality:</source>
        <translation type="unfinished">Qualität:</translation>
    </message>
    <message>
        <source>Compute on:</source>
        <translation type="unfinished">Rechnen auf:</translation>
    </message>
    <message>
        <source>Automatic takes the first graphics card that works, otherwise the processor (CPU).</source>
        <translation type="unfinished">Automatisch nimmt die erste Grafikkarte, die geht, sonst den Prozessor (CPU).</translation>
    </message>
    <message>
        <source>Advanced</source>
        <translation type="unfinished">Erweitert</translation>
    </message>
    <message>
        <source>Parameter set:</source>
        <translation type="unfinished">Parametersatz:</translation>
    </message>
    <message>
        <source>Several sets of the choices on this panel can be kept in a scene.</source>
        <translation type="unfinished">Mehrere Sätze der Einstellungen dieses Panels können in einer Szene aufbewahrt werden.</translation>
    </message>
    <message>
        <source>Show 3D</source>
        <translation type="unfinished">3D zeigen</translation>
    </message>
    <message>
        <source>Show the filled segmentation in the 3D view, or hide it there.</source>
        <translation type="unfinished">Zeigt die gefüllte Segmentierung in der 3D-Ansicht, oder blendet sie dort aus.</translation>
    </message>
    <message>
        <source>Show input, result and expected error side by side, linked; where labels alone were filled, what was drawn, what was filled, and how certain it is.</source>
        <translation type="unfinished">Eingabe, Ergebnis und erwarteten Fehler nebeneinander zeigen, verbunden; wo nur eine Segmentierung gefüllt wurde: was gezeichnet war, was gefüllt wurde und wie sicher es ist.</translation>
    </message>
    <message>
        <source>Show a table of all slices: how well those that were hidden came out, and the mean expected error; where labels alone were filled, how many of them are in doubt.</source>
        <translation type="unfinished">Eine Tabelle aller Schichten zeigen: wie gut verdeckte getroffen wurden, und den mittleren erwarteten Fehler; wo nur eine Segmentierung gefüllt wurde: wie viele Voxel zweifelhaft sind.</translation>
    </message>
    <message>
        <source>Show the slice on which drawing would help most; once something was drawn there, the button offers the next one. Reconstructing again goes on from what was learnt, and takes less time.</source>
        <translation type="unfinished">Zeigt die Schicht, auf der Zeichnen am meisten hülfe; sobald dort gezeichnet ist, bietet der Knopf die nächste an. Eine neue Rekonstruktion fährt mit dem Gelernten fort und dauert weniger lang.</translation>
    </message>
    <message>
        <source>Seed:</source>
        <translation type="unfinished">Startwert:</translation>
    </message>
    <message>
        <source>What the volume needs. Automatic follows what you choose below. The panel shows what belongs to it; other choices have no effect.</source>
        <translation type="unfinished">Was das Volumen braucht. Automatisch richtet sich nach dem, was Sie unten wählen. Das Panel zeigt, was dazu gehört; anderes hat keine Wirkung.</translation>
    </message>
    <message>
        <source>What is reconstructed: the whole volume, or the voxels that a box in the views reaches into, which is quicker where it is much smaller than the volume. Slices keep their numbers. A new box lies in the middle of the volume; move its sides in the views.</source>
        <translation type="unfinished">Was rekonstruiert wird: das ganze Volumen oder die Voxel, in die ein Quader in den Ansichten reicht; das geht schneller, wenn er viel kleiner als das Volumen ist. Schichten behalten ihre Nummern. Ein neuer Quader liegt in der Mitte des Volumens; verschieben Sie seine Seiten in den Ansichten.</translation>
    </message>
    <message>
        <source>Output volume:</source>
        <translation type="unfinished">Ausgabevolumen:</translation>
    </message>
    <message>
        <source>Output segmentation:</source>
        <translation type="unfinished">Ausgabesegmentierung:</translation>
    </message>
    <message>
        <source>The same seed gives the same result, but for labels that go on from what the last run learnt. Another seed lets them be learnt anew.</source>
        <translation type="unfinished">Derselbe Startwert gibt dasselbe Ergebnis, außer bei Labeln, die von dem ausgehen, was der letzte Lauf gelernt hat. Mit einem anderen Startwert werden sie neu gelernt.</translation>
    </message>
    <message>
        <source>Memory:</source>
        <translation type="unfinished">Arbeitsspeicher:</translation>
    </message>
    <message>
        <source>How much memory of this computer the computing may take at its peak. With less, large volumes are done in parts, which takes a little longer and changes nothing else; several volumes are not done in parts and need it all. Automatic takes what is free. That of a graphics card is its own.</source>
        <translation type="unfinished">Wie viel Arbeitsspeicher dieses Computers das Rechnen höchstens belegen darf. Mit weniger werden große Volumen in Teilen gerechnet, was etwas länger dauert und sonst nichts ändert; mehrere Volumen werden nicht geteilt und brauchen ihn ganz. Automatisch nimmt, was frei ist. Der Speicher einer Grafikkarte zählt für sich.</translation>
    </message>
    <message>
        <source> GB</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Threads:</source>
        <translation type="unfinished">Threads:</translation>
    </message>
    <message>
        <source>How many threads the computing may use. Fewer leave more of the processor to other programs, and take longer. The result is the same. Automatic takes as many as the processor has.</source>
        <translation type="unfinished">Wie viele Threads das Rechnen verwenden darf. Weniger lassen anderen Programmen mehr vom Prozessor und brauchen länger. Das Ergebnis ist dasselbe. Automatisch nimmt so viele, wie der Prozessor hat.</translation>
    </message>
    <message>
        <source>Keep model:</source>
        <translation type="unfinished">Modell behalten:</translation>
    </message>
    <message>
        <source>to draw any plane of it, and to export it</source>
        <translation type="unfinished">um beliebige Ebenen daraus zu zeichnen und es zu exportieren</translation>
    </message>
    <message>
        <source>Keep the model file. It takes as much disk space as some copies of the volume.</source>
        <translation type="unfinished">Behält die Datei des Modells. Sie braucht so viel Platz auf der Festplatte wie einige Kopien des Volumens.</translation>
    </message>
    <message>
        <source>Even texture:</source>
        <translation type="unfinished">Gleichmäßige Textur:</translation>
    </message>
    <message>
        <source>for looking, not for measuring</source>
        <translation type="unfinished">zum Ansehen, nicht zum Messen</translation>
    </message>
    <message>
        <source>Filled slices have less noise than used ones, so that scrolling flickers. Check this to add the noise that they lack. Each voxel is then further from the truth: leave it unchecked for measurements and for programs.</source>
        <translation type="unfinished">Ergänzte Schichten rauschen weniger als verwendete, so dass es beim Durchblättern flackert. Kreuzen Sie dies an, um das fehlende Rauschen hinzuzufügen. Jedes Voxel ist dann weiter von der Wahrheit entfernt: Lassen Sie es für Messungen und Programme weg.</translation>
    </message>
    <message>
        <source>Copy volume:</source>
        <translation type="unfinished">Volumen kopieren:</translation>
    </message>
    <message>
        <source>even if labels alone are filled</source>
        <translation type="unfinished">auch wenn nur Label gefüllt werden</translation>
    </message>
    <message>
        <source>Where the image is known on all slices of the result, only segmentation and certainty are added to the scene. Check this to get a copy of the volume as well.</source>
        <translation type="unfinished">Wo das Bild auf allen Schichten des Ergebnisses bekannt ist, kommen nur Segmentierung und Sicherheit in die Szene. Kreuzen Sie dies an, um auch eine Kopie des Volumens zu bekommen.</translation>
    </message>
    <message>
        <source>Python packages...</source>
        <translation type="unfinished">Python-Pakete ...</translation>
    </message>
    <message>
        <source>Which Python packages are there, in which version, and whether they work; repair and upgrade them.</source>
        <translation type="unfinished">Welche Python-Pakete da sind, in welcher Version, und ob sie funktionieren; repariert und erneuert sie.</translation>
    </message>
    <message>
        <source>Reconstruct</source>
        <translation type="unfinished">Rekonstruieren</translation>
    </message>
    <message>
        <source>The slice in the middle of the result, as far as it is known.</source>
        <translation type="unfinished">Die mittlere Schicht des Ergebnisses, soweit sie bekannt ist.</translation>
    </message>
    <message>
        <source>Copy log</source>
        <translation type="unfinished">Protokoll kopieren</translation>
    </message>
    <message>
        <source>Copy what went wrong, the versions, your choices and the last lines of the log, to send when you ask for help. Look it through before: the second line may name a volume.</source>
        <translation type="unfinished">Kopiert, was schiefging, die Versionen, Ihre Einstellungen und die letzten Zeilen des Protokolls, zum Verschicken, wenn Sie um Hilfe bitten. Sehen Sie es vorher durch: In der zweiten Zeile kann der Name eines Volumens stehen.</translation>
    </message>
    <message>
        <source>Results</source>
        <translation type="unfinished">Ergebnisse</translation>
    </message>
    <message>
        <source>Show before</source>
        <translation type="unfinished">Vorher zeigen</translation>
    </message>
    <message>
        <source>Show what the result was made from in its place, and back again.</source>
        <translation type="unfinished">Zeigt an Stelle des Ergebnisses, woraus es entstanden ist, und wieder zurück.</translation>
    </message>
    <message>
        <source>Compare</source>
        <translation type="unfinished">Vergleichen</translation>
    </message>
    <message>
        <source>Table</source>
        <translation type="unfinished">Tabelle</translation>
    </message>
    <message>
        <source>Plot</source>
        <translation type="unfinished">Diagramm</translation>
    </message>
    <message>
        <source>Plot the mean expected error of each slice; where labels alone were filled, how many of them are in doubt.</source>
        <translation type="unfinished">Zeichnet den mittleren erwarteten Fehler jeder Schicht; wo nur Label gefüllt wurden, wie viele davon zweifelhaft sind.</translation>
    </message>
    <message>
        <source>Draw next slice</source>
        <translation type="unfinished">Nächste Schicht zeichnen</translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Sicherheit zeigen</translation>
    </message>
    <message>
        <source>Show where labels are in doubt, half transparent over the image: red where they are as likely wrong as right.</source>
        <translation type="unfinished">Zeigt, wo Label zweifelhaft sind, halb durchsichtig über dem Bild: rot, wo sie ebenso wahrscheinlich falsch wie richtig sind.</translation>
    </message>
    <message>
        <source>Render plane</source>
        <translation type="unfinished">Ebene zeichnen</translation>
    </message>
    <message>
        <source>Draw the plane of the first slice view from the model, without any voxels in between.</source>
        <translation type="unfinished">Zeichnet die Ebene der ersten Schichtansicht aus dem Modell, ohne Voxel dazwischen.</translation>
    </message>
    <message>
        <source>Export model...</source>
        <translation type="unfinished">Modell exportieren ...</translation>
    </message>
    <message>
        <source>Save the model as a file.</source>
        <translation type="unfinished">Speichert das Modell als Datei.</translation>
    </message>
    <message>
        <source>Research software, not a medical device. Not for diagnosis or treatment.</source>
        <translation type="unfinished">Forschungssoftware, kein Medizinprodukt. Nicht für Diagnose oder Behandlung.</translation>
    </message>
    <message>
        <source>Triplane Gaussian Reconstruction</source>
        <translation type="unfinished">Triplane Gaussian Reconstruction</translation>
    </message>
    <message>
        <source>Turns sparse, thick or partly unusable slices into a dense volume and a dense segmentation, and says how far to trust them. For ultrasound, MR and CT. Choose a volume, say which of its slices to use, and press Reconstruct.</source>
        <translation type="unfinished">Macht aus wenigen, dicken oder teilweise unbrauchbaren Schichten ein dichtes Volumen und eine dichte Segmentierung, und sagt, wie weit ihnen zu trauen ist. Für Ultraschall, MR und CT. Wählen Sie ein Volumen, sagen Sie, welche Schichten zu verwenden sind, und drücken Sie Rekonstruieren.</translation>
    </message>
    <message>
        <source>Guide: a first try, and every control</source>
        <translation type="unfinished">Anleitung: ein erster Versuch, und jedes Bedienelement</translation>
    </message>
    <message>
        <source>Research software, not a medical device. Not for diagnosis or treatment. Apache License, Version 2.0.</source>
        <translation type="unfinished">Forschungssoftware, kein Medizinprodukt. Nicht für Diagnose oder Behandlung. Apache License, Version 2.0.</translation>
    </message>
    <message>
        <source>How to cite it, and the method that it builds on</source>
        <translation type="unfinished">Wie es zitiert wird, und worauf es beruht</translation>
    </message>
</context>
<context>
    <name>TriplaneGaussianReconModule.wording</name>
    <message>
        <source>{number} s</source>
        <translation type="unfinished">{number} s</translation>
    </message>
    <message>
        <source>{number} min</source>
        <translation type="unfinished">{number} min</translation>
    </message>
    <message>
        <source>{number} h</source>
        <translation type="unfinished">{number} h</translation>
    </message>
    <message>
        <source>{number} GB</source>
        <translation type="unfinished">{number} GB</translation>
    </message>
    <message>
        <source>Fast</source>
        <translation type="unfinished">Schnell</translation>
    </message>
    <message>
        <source>Better</source>
        <translation type="unfinished">Besser</translation>
    </message>
    <message>
        <source>Best</source>
        <translation type="unfinished">Am besten</translation>
    </message>
    <message>
        <source>{name} filled, {quality}, {time}</source>
        <translation type="unfinished">{name} gefüllt, {quality}, {time}</translation>
    </message>
    <message>
        <source>{name} reconstructed, {quality}, {time}</source>
        <translation type="unfinished">{name} rekonstruiert, {quality}, {time}</translation>
    </message>
    <message>
        <source>use the module PyTorch Utils, as the guide explains</source>
        <translation type="unfinished">verwenden Sie das Modul PyTorch Utils, wie die Anleitung erklärt</translation>
    </message>
    <message>
        <source>Stage {number} of {count}: {sentence}</source>
        <translation type="unfinished">Schritt {number} von {count}: {sentence}</translation>
    </message>
    <message>
        <source>sagittal</source>
        <translation type="unfinished">sagittale</translation>
    </message>
    <message>
        <source>coronal</source>
        <translation type="unfinished">koronare</translation>
    </message>
    <message>
        <source>axial</source>
        <translation type="unfinished">axiale</translation>
    </message>
    <message>
        <source>right</source>
        <translation type="unfinished">rechts</translation>
    </message>
    <message>
        <source>left</source>
        <translation type="unfinished">links</translation>
    </message>
    <message>
        <source>anterior</source>
        <translation type="unfinished">vorn</translation>
    </message>
    <message>
        <source>posterior</source>
        <translation type="unfinished">hinten</translation>
    </message>
    <message>
        <source>inferior</source>
        <translation type="unfinished">unten</translation>
    </message>
    <message>
        <source>superior</source>
        <translation type="unfinished">oben</translation>
    </message>
    <message>
        <source>Axis {axis}: {count} {plane} slices, {spacing} mm apart, from {first} to {last}.</source>
        <translation type="unfinished">Achse {axis}: {count} {plane} Schichten im Abstand von {spacing} mm, von {first} nach {last}.</translation>
    </message>
    <message>
        <source>Axis {axis}: {count} {plane} slices (oblique), {spacing} mm apart, from {first} to {last}.</source>
        <translation type="unfinished">Achse {axis}: {count} {plane} Schichten (schräg) im Abstand von {spacing} mm, von {first} nach {last}.</translation>
    </message>
    <message>
        <source>{observed} of {count} slices are used: {listed}. Widest gap: {gap} mm.</source>
        <translation type="unfinished">{observed} von {count} Schichten werden verwendet: {listed}. Größte Lücke: {gap} mm.</translation>
    </message>
    <message>
        <source>{observed} of {count} slices are used, those in the region and the next ones around it: {listed}. Widest gap: {gap} mm.</source>
        <translation type="unfinished">{observed} von {count} Schichten werden verwendet, die im Bereich und die nächsten um ihn: {listed}. Größte Lücke: {gap} mm.</translation>
    </message>
    <message>
        <source>No chosen segment is drawn on a slice that is used and carries labels.</source>
        <translation type="unfinished">Auf keiner Schicht, die verwendet wird und Label trägt, ist ein gewähltes Segment gezeichnet.</translation>
    </message>
    <message>
        <source>Labels from {count} drawn slices ({listed})</source>
        <translation type="unfinished">Label von {count} gezeichneten Schichten ({listed})</translation>
    </message>
    <message>
        <source>Labels from {count} drawn slice ({listed})</source>
        <translation type="unfinished">Label von {count} gezeichneten Schicht ({listed})</translation>
    </message>
    <message>
        <source>{count} are filled from the image ({listed})</source>
        <translation type="unfinished">{count} werden aus dem Bild gefüllt ({listed})</translation>
    </message>
    <message>
        <source>{count} is filled from the image ({listed})</source>
        <translation type="unfinished">{count} wird aus dem Bild gefüllt ({listed})</translation>
    </message>
    <message>
        <source>{count} count as empty ({listed})</source>
        <translation type="unfinished">{count} gelten als leer ({listed})</translation>
    </message>
    <message>
        <source>{count} counts as empty ({listed})</source>
        <translation type="unfinished">{count} gilt als leer ({listed})</translation>
    </message>
    <message>
        <source>Replaces no slice yet.</source>
        <translation type="unfinished">Ersetzt noch keine Schicht.</translation>
    </message>
    <message>
        <source>Replaces {missing} of {count} slices.</source>
        <translation type="unfinished">Ersetzt {missing} von {count} Schichten.</translation>
    </message>
    <message>
        <source>Replaces {missing} of {count} slices, and the segmentation on them.</source>
        <translation type="unfinished">Ersetzt {missing} von {count} Schichten und die Segmentierung darauf.</translation>
    </message>
    <message>
        <source>Makes {missing} of {count} slices from the others.</source>
        <translation type="unfinished">Macht {missing} von {count} Schichten aus den anderen.</translation>
    </message>
    <message>
        <source>Changes nothing yet: every slice is used, and carries labels. Choose under &apos;Labels from&apos; from which slices they are taken; they are filled on the others.</source>
        <translation type="unfinished">Ändert noch nichts: Jede Schicht wird verwendet und trägt Label. Wählen Sie unter &apos;Label aus&apos;, von welchen Schichten sie genommen werden; auf den anderen werden sie gefüllt.</translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm.</source>
        <translation type="unfinished">Macht aus Schichten von {old} mm solche von {new} mm.</translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm, and fills the segmentation on them.</source>
        <translation type="unfinished">Macht aus Schichten von {old} mm solche von {new} mm und füllt die Segmentierung darauf.</translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm, and fills the segmentation on them, from {drawn} slices that are drawn on.</source>
        <translation type="unfinished">Macht aus Schichten von {old} mm solche von {new} mm und füllt darauf die Segmentierung, ausgehend von {drawn} gezeichneten Schichten.</translation>
    </message>
    <message>
        <source>How good the result is cannot be said: to hide a slice and check, at least 3 must be used, and one between two others must show something.</source>
        <translation type="unfinished">Wie gut das Ergebnis ist, lässt sich nicht sagen: Um eine Schicht zur Probe zu verdecken, müssen mindestens 3 verwendet werden, und eine zwischen zwei anderen muss etwas zeigen.</translation>
    </message>
    <message>
        <source>It was not learnt: it is how far simple methods disagree, and errors may be many times as large.</source>
        <translation type="unfinished">Er wurde nicht gelernt: Er ist, wie weit einfache Verfahren auseinanderliegen; Fehler können um ein Vielfaches größer sein.</translation>
    </message>
    <message>
        <source>copies of the nearest slice</source>
        <translation type="unfinished">Kopien der nächsten Schicht</translation>
    </message>
    <message>
        <source>cubic interpolation</source>
        <translation type="unfinished">kubischer Interpolation</translation>
    </message>
    <message>
        <source>smooth (monotone cubic) interpolation</source>
        <translation type="unfinished">glatter (monotoner kubischer) Interpolation</translation>
    </message>
    <message>
        <source>It says little about where the errors are: trust its size, not its pattern.</source>
        <translation type="unfinished">Er sagt wenig darüber, wo die Fehler sind: Trauen Sie seiner Größe, nicht seinem Muster.</translation>
    </message>
    <message>
        <source>linear interpolation between slices</source>
        <translation type="unfinished">linearer Interpolation zwischen Schichten</translation>
    </message>
    <message>
        <source>the best usual method, {name}</source>
        <translation type="unfinished">dem besten üblichen Verfahren, {name}</translation>
    </message>
    <message>
        <source>Checked on {count} slices, each hidden and predicted across twice the real gap (PSNR {psnr} dB).</source>
        <translation type="unfinished">Geprüft an {count} Schichten, jede verdeckt und über die doppelte Lücke hinweg vorhergesagt (PSNR {psnr} dB).</translation>
    </message>
    <message>
        <source>No better than with {method}: errors are as large.</source>
        <translation type="unfinished">Nicht besser als mit {method}: Die Fehler sind gleich groß.</translation>
    </message>
    <message>
        <source>Hardly better than with {method}: errors are {share} % smaller ({gain} dB), which is hardly seen.</source>
        <translation type="unfinished">Kaum besser als mit {method}: Fehler sind {share} % kleiner ({gain} dB), was man kaum sieht.</translation>
    </message>
    <message>
        <source>Slightly worse than with {method}: errors are {share} % larger ({gain} dB), which is hardly seen.</source>
        <translation type="unfinished">Etwas schlechter als mit {method}: Fehler sind {share} % größer ({gain} dB), was man kaum sieht.</translation>
    </message>
    <message>
        <source>Errors are {share} % smaller than with {method} ({gain} dB).</source>
        <translation type="unfinished">Fehler sind {share} % kleiner als mit {method} ({gain} dB).</translation>
    </message>
    <message>
        <source>Errors are {share} % larger than with {method} ({gain} dB), which serves this scan better.</source>
        <translation type="unfinished">Fehler sind {share} % größer als mit {method} ({gain} dB); dieses Verfahren passt besser zu dieser Aufnahme.</translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm, which is thicker.</source>
        <translation type="unfinished">Macht aus Schichten von {old} mm solche von {new} mm, also dickere.</translation>
    </message>
    <message>
        <source>Fills the segmentation on {filled} slices, from {drawn} that are drawn on.</source>
        <translation type="unfinished">Füllt die Segmentierung auf {filled} Schichten, ausgehend von {drawn} gezeichneten.</translation>
    </message>
    <message>
        <source>Changes nothing yet: every slice is used, and the result has the voxels of the input.</source>
        <translation type="unfinished">Ändert noch nichts: Alle Schichten werden verwendet, und das Ergebnis hat die Voxel des Eingangs.</translation>
    </message>
    <message>
        <source>Makes one volume of {count}, with cubic voxels.</source>
        <translation type="unfinished">Macht aus {count} Volumen eines, mit würfelförmigen Voxeln.</translation>
    </message>
    <message>
        <source>learnt from this scan</source>
        <translation type="unfinished">aus dieser Aufnahme gelernt</translation>
    </message>
    <message>
        <source>Started from what the last run learnt.</source>
        <translation type="unfinished">Ausgegangen von dem, was der letzte Lauf gelernt hat.</translation>
    </message>
    <message>
        <source>Started from what the last run learnt, whose check it is.</source>
        <translation type="unfinished">Ausgegangen wurde von dem, was der letzte Lauf gelernt hat; von ihm stammt die Prüfung.</translation>
    </message>
    <message>
        <source>by copying the nearest drawn slice</source>
        <translation type="unfinished">durch Kopieren der nächsten gezeichneten Schicht</translation>
    </message>
    <message>
        <source>by the shape between drawn slices</source>
        <translation type="unfinished">nach der Form zwischen gezeichneten Schichten</translation>
    </message>
    <message>
        <source>by following the image from slice to slice</source>
        <translation type="unfinished">dem Bild von Schicht zu Schicht folgend</translation>
    </message>
    <message>
        <source>{share} % {method}</source>
        <translation type="unfinished">{share} % {method}</translation>
    </message>
    <message>
        <source>How labels were filled: {methods}.</source>
        <translation type="unfinished">Wie Label gefüllt wurden: {methods}.</translation>
    </message>
    <message>
        <source>Filled labels overlap with drawn ones by Dice {dice} (1 is perfect overlap, 0 is none), on drawn slices that were hidden to check.</source>
        <translation type="unfinished">Die gefüllte Segmentierung deckt sich mit der gezeichneten mit Dice {dice} (1 ist volle Deckung, 0 keine), auf gezeichneten Schichten, die zur Probe verdeckt wurden.</translation>
    </message>
    <message>
        <source>Slices filled: {filled}. How well cannot be said: with this quality no drawn slice is hidden to check. &apos;Better&apos; and &apos;Best&apos; do that where labels come from {fewest} slices or more.</source>
        <translation type="unfinished">Gefüllte Schichten: {filled}. Wie gut, lässt sich nicht sagen: In dieser Qualität wird keine gezeichnete Schicht zur Probe verdeckt. &apos;Besser&apos; und &apos;Am besten&apos; tun das, wo die Segmentierung von {fewest} oder mehr Schichten kommt.</translation>
    </message>
    <message>
        <source>Slices filled: {filled}. How well cannot be said: this started from what a run learnt that hid no drawn slice to check. Another seed, under Advanced, starts anew and does.</source>
        <translation type="unfinished">Gefüllte Schichten: {filled}. Wie gut, lässt sich nicht sagen: Ausgegangen wurde von einem Lauf, der keine gezeichnete Schicht zur Probe verdeckt hat. Ein anderer Startwert (unter Erweitert) beginnt neu und tut es.</translation>
    </message>
    <message>
        <source>Slices filled: {filled}. How well cannot be said: to hide one and check, labels must come from {fewest} slices or more, and come from {labelled}.</source>
        <translation type="unfinished">Gefüllte Schichten: {filled}. Wie gut, lässt sich nicht sagen: Um eine zur Probe zu verdecken, muss die Segmentierung von mindestens {fewest} Schichten kommen; sie kommt von {labelled}.</translation>
    </message>
    <message>
        <source>Result: {shape} voxels of {spacing} mm.</source>
        <translation type="unfinished">Ergebnis: {shape} Voxel von {spacing} mm.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; was turned by {angle} degrees, and its middle moved by {shift} mm, to fit &apos;{first}&apos;.</source>
        <translation type="unfinished">&apos;{name}&apos; wurde um {angle} Grad gedreht und seine Mitte um {shift} mm verschoben, um zu &apos;{first}&apos; zu passen.</translation>
    </message>
    <message>
        <source>Result: cubic voxels about all volumes, as small as the smallest pixel.</source>
        <translation type="unfinished">Ergebnis: würfelförmige Voxel um alle Volumen, so klein wie das kleinste Pixel.</translation>
    </message>
    <message>
        <source>Result: cubic voxels of {side} mm about all volumes.</source>
        <translation type="unfinished">Ergebnis: würfelförmige Voxel von {side} mm um alle Volumen.</translation>
    </message>
    <message>
        <source>Will take about {time} on this computer, and {memory} of memory.</source>
        <translation type="unfinished">Dauert auf diesem Computer etwa {time} und braucht {memory} Arbeitsspeicher.</translation>
    </message>
    <message>
        <source>Will take {time} at most on this computer, and {memory} of memory.</source>
        <translation type="unfinished">Dauert auf diesem Computer höchstens {time} und braucht {memory} Arbeitsspeicher.</translation>
    </message>
    <message>
        <source>May take {time} on this computer, and {memory} of memory; this is a guess.</source>
        <translation type="unfinished">Kann auf diesem Computer {time} dauern und {memory} Arbeitsspeicher brauchen; das ist geschätzt.</translation>
    </message>
    <message>
        <source>Will take about {time} on this computer, and {memory} of memory on the graphics card.</source>
        <translation type="unfinished">Dauert auf diesem Computer etwa {time} und braucht {memory} Speicher der Grafikkarte.</translation>
    </message>
    <message>
        <source>{share} % of the range</source>
        <translation type="unfinished">{share} % des Wertebereichs</translation>
    </message>
    <message>
        <source>Expected error: {amount} (median in the body).</source>
        <translation type="unfinished">Erwarteter Fehler: {amount} (Median im Körper).</translation>
    </message>
</context>
<context>
    <name>effect.filling</name>
    <message>
        <source>Choose a segmentation and a source volume first.</source>
        <translation type="unfinished">Wählen Sie zuerst eine Segmentierung und ein Quellvolumen.</translation>
    </message>
    <message>
        <source>There is nothing to fill: no slice without labels lies between drawn ones.</source>
        <translation type="unfinished">Es gibt nichts zu füllen: Zwischen gezeichneten Schichten liegt keine ohne Label.</translation>
    </message>
    <message>
        <source>{name} (preview)</source>
        <translation type="unfinished">{name} (Vorschau)</translation>
    </message>
</context>
<context>
    <name>effect.options</name>
    <message>
        <source>Fill</source>
        <translation type="unfinished">Füllen</translation>
    </message>
    <message>
        <source>Fill all visible segments between the slices on which they are drawn, guided by the image.</source>
        <translation type="unfinished">Füllt alle sichtbaren Segmente zwischen den Schichten, auf denen sie gezeichnet sind, vom Bild geleitet.</translation>
    </message>
    <message>
        <source>Show the slice on which drawing would help most.</source>
        <translation type="unfinished">Zeigt die Schicht, auf der Zeichnen am meisten hülfe.</translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Sicherheit zeigen</translation>
    </message>
    <message>
        <source>Lay over the image how certain the labels are: red where they are as likely wrong as right.</source>
        <translation type="unfinished">Legt über das Bild, wie sicher die Label sind: rot, wo sie ebenso wahrscheinlich falsch wie richtig sind.</translation>
    </message>
    <message>
        <source>Apply</source>
        <translation type="unfinished">Anwenden</translation>
    </message>
    <message>
        <source>Put the preview into the segmentation.</source>
        <translation type="unfinished">Übernimmt die Vorschau in die Segmentierung.</translation>
    </message>
    <message>
        <source>Discard</source>
        <translation type="unfinished">Verwerfen</translation>
    </message>
    <message>
        <source>Remove the preview.</source>
        <translation type="unfinished">Entfernt die Vorschau.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Abbrechen</translation>
    </message>
    <message>
        <source>Fill again</source>
        <translation type="unfinished">Erneut füllen</translation>
    </message>
    <message>
        <source>Hide certainty</source>
        <translation type="unfinished">Sicherheit ausblenden</translation>
    </message>
    <message>
        <source>The preview is shown half transparent. Apply it, or draw one more slice and fill again.</source>
        <translation type="unfinished">Die Vorschau wird halb durchsichtig gezeigt. Wenden Sie sie an, oder zeichnen Sie eine weitere Schicht und füllen Sie erneut.</translation>
    </message>
</context>
<context>
    <name>installation.checking</name>
    <message>
        <source>Python crashes when it is imported</source>
        <translation type="unfinished">Python stürzt ab, wenn es importiert wird</translation>
    </message>
    <message>
        <source>Python ends at once</source>
        <translation type="unfinished">Python endet sofort</translation>
    </message>
    <message>
        <source>{package} lacks {file}</source>
        <translation type="unfinished">{package} fehlt {file}</translation>
    </message>
    <message>
        <source>{packages}: a part of 3D Slicer, which is to be installed again</source>
        <translation type="unfinished">{packages}: ein Teil von 3D Slicer, das neu zu installieren ist</translation>
    </message>
</context>
<context>
    <name>installation.commands</name>
    <message>
        <source>{doing}: {received} of {total} MB</source>
        <translation type="unfinished">{doing}: {received} von {total} MB</translation>
    </message>
</context>
<context>
    <name>installation.dependencies</name>
    <message>
        <source>This 3D Slicer is built for Macs with an Intel processor, and also runs as such on newer Macs. There is no PyTorch for them any more: the last one was 2.2, and 2.11 is needed. Nothing was downloaded. Use a 3D Slicer that is built for Apple processors (arm64), another computer, or, on a newer Mac, the command line of this project without Slicer.</source>
        <translation type="unfinished">Dieses 3D Slicer ist für Macs mit Intel-Prozessor gebaut und läuft als solches auch auf neueren Macs. Für diese gibt es kein PyTorch mehr: Das letzte war 2.2, und 2.11 wird gebraucht. Es wurde nichts heruntergeladen. Verwenden Sie ein 3D Slicer, das für Apple-Prozessoren (arm64) gebaut ist, einen anderen Computer oder, auf einem neueren Mac, die Befehlszeile dieses Projekts ohne Slicer.</translation>
    </message>
    <message>
        <source>Python packages are missing, and nobody can be asked: {packages}</source>
        <translation type="unfinished">Python-Pakete fehlen, und niemand kann gefragt werden: {packages}</translation>
    </message>
    <message>
        <source>This computer has an NVIDIA GPU, but the installed torch was built for the CPU alone, so that the CPU computes. To use the GPU, open the module PyTorch Utils, uninstall torch, restart Slicer, and install it with a computation backend that starts with &apos;cu&apos;.</source>
        <translation type="unfinished">Dieser Computer hat eine NVIDIA-GPU, aber das installierte torch ist nur für die CPU gebaut, so dass die CPU rechnet. Um die GPU zu nutzen, öffnen Sie das Modul PyTorch Utils, deinstallieren Sie torch, starten Sie Slicer neu, und installieren Sie es mit einem Rechen-Backend, das mit &apos;cu&apos; beginnt.</translation>
    </message>
    <message>
        <source>The installed torch was built for CUDA {version}, but no NVIDIA driver was found, so that the CPU computes. If this computer has an NVIDIA GPU, install its driver.</source>
        <translation type="unfinished">Das installierte torch ist für CUDA {version} gebaut, aber es wurde kein NVIDIA-Treiber gefunden, so dass die CPU rechnet. Falls dieser Computer eine NVIDIA-GPU hat, installieren Sie ihren Treiber.</translation>
    </message>
</context>
<context>
    <name>installation.dialog</name>
    <message>
        <source>Triplane Gaussian Reconstruction: Python packages</source>
        <translation type="unfinished">Triplane Gaussian Reconstruction: Python-Pakete</translation>
    </message>
    <message>
        <source>Copy log</source>
        <translation type="unfinished">Protokoll kopieren</translation>
    </message>
    <message>
        <source>Restart Slicer</source>
        <translation type="unfinished">Slicer neu starten</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Abbrechen</translation>
    </message>
    <message>
        <source>The extension PyTorch is installed, but was not loaded: View &gt; Error Log says why.</source>
        <translation type="unfinished">Die Erweiterung PyTorch ist installiert, wurde aber nicht geladen: View &gt; Error Log sagt, warum.</translation>
    </message>
    <message>
        <source>Close</source>
        <translation type="unfinished">Schließen</translation>
    </message>
    <message>
        <source>First of all the extension PyTorch is installed by the Extensions Manager. 3D Slicer has to be restarted then: save your work before. After that it goes on by itself.</source>
        <translation type="unfinished">Zuerst installiert der Erweiterungs-Manager die Erweiterung PyTorch. Danach muss 3D Slicer neu gestartet werden: Speichern Sie vorher Ihre Arbeit. Danach geht es von selbst weiter.</translation>
    </message>
    <message>
        <source>The extension PyTorch is installed. Restart Slicer: then it goes on by itself.</source>
        <translation type="unfinished">Die Erweiterung PyTorch ist installiert. Starten Sie Slicer neu: Dann geht es von selbst weiter.</translation>
    </message>
    <message>
        <source>These packages were in use and have changed: {packages}. Restart Slicer before you go on with other modules.</source>
        <translation type="unfinished">Diese Pakete waren in Gebrauch und haben sich geändert: {packages}. Starten Sie Slicer neu, bevor Sie mit anderen Modulen weiterarbeiten.</translation>
    </message>
    <message>
        <source>Later</source>
        <translation type="unfinished">Später</translation>
    </message>
    <message>
        <source>Installing failed. {reason}</source>
        <translation type="unfinished">Die Installation ist fehlgeschlagen. {reason}</translation>
    </message>
    <message>
        <source>These packages are in use by this Slicer: {packages}. Restart Slicer: then it goes on by itself, before they are.</source>
        <translation type="unfinished">Diese Pakete sind in diesem Slicer in Gebrauch: {packages}. Starten Sie Slicer neu: Dann geht es von selbst weiter, bevor sie es wieder sind.</translation>
    </message>
    <message>
        <source>Go on</source>
        <translation type="unfinished">Weiter</translation>
    </message>
    <message>
        <source>Try again</source>
        <translation type="unfinished">Erneut versuchen</translation>
    </message>
</context>
<context>
    <name>installation.extension</name>
    <message>
        <source>The extension PyTorch is needed. Install it in the Extensions Manager, restart Slicer and try again.</source>
        <translation type="unfinished">Die Erweiterung PyTorch wird gebraucht. Installieren Sie sie im Erweiterungs-Manager, starten Sie Slicer neu, und versuchen Sie es noch einmal.</translation>
    </message>
    <message>
        <source>This Slicer has no Extensions Manager.</source>
        <translation type="unfinished">Dieses Slicer hat keinen Erweiterungs-Manager.</translation>
    </message>
    <message>
        <source>It is installed, but was made for another version of Slicer: update it.</source>
        <translation type="unfinished">Sie ist installiert, wurde aber für eine andere Version von Slicer gemacht: Aktualisieren Sie sie.</translation>
    </message>
    <message>
        <source>Asking the Extensions Manager for PyTorch</source>
        <translation type="unfinished">Fragt den Erweiterungs-Manager nach PyTorch</translation>
    </message>
    <message>
        <source>The server of extensions is not known, or could not be asked.</source>
        <translation type="unfinished">Der Server für Erweiterungen ist nicht bekannt oder konnte nicht gefragt werden.</translation>
    </message>
    <message>
        <source>The server of extensions did not answer: is this computer connected to the internet?</source>
        <translation type="unfinished">Der Server für Erweiterungen hat nicht geantwortet: Ist dieser Computer mit dem Internet verbunden?</translation>
    </message>
    <message>
        <source>The server of extensions has none of this name for this version of Slicer, or its files may not be written.</source>
        <translation type="unfinished">Der Server für Erweiterungen hat keine dieses Namens für diese Version von Slicer, oder ihre Dateien dürfen nicht geschrieben werden.</translation>
    </message>
    <message>
        <source>Downloading the extension PyTorch</source>
        <translation type="unfinished">Lädt die Erweiterung PyTorch herunter</translation>
    </message>
    <message>
        <source>It could not be downloaded or unpacked.</source>
        <translation type="unfinished">Sie konnte nicht heruntergeladen oder entpackt werden.</translation>
    </message>
    <message>
        <source>{reason} View &gt; Error Log may say more. Or install the extension PyTorch in the Extensions Manager yourself, restart Slicer and try again.</source>
        <translation type="unfinished">{reason} View &gt; Error Log sagt vielleicht mehr. Oder installieren Sie die Erweiterung PyTorch selbst im Erweiterungs-Manager, starten Sie Slicer neu, und versuchen Sie es noch einmal.</translation>
    </message>
</context>
<context>
    <name>installation.installation</name>
    <message>
        <source>Finding out what is needed</source>
        <translation type="unfinished">Ermittelt, was gebraucht wird</translation>
    </message>
    <message>
        <source>Downloading {name} ({number} of {count})</source>
        <translation type="unfinished">Lädt {name} herunter ({number} von {count})</translation>
    </message>
    <message>
        <source>Installing {count} packages</source>
        <translation type="unfinished">Installiert {count} Pakete</translation>
    </message>
    <message>
        <source>Cancelled. What has been downloaded is kept for the next try.</source>
        <translation type="unfinished">Abgebrochen. Was heruntergeladen ist, bleibt für den nächsten Versuch.</translation>
    </message>
    <message>
        <source>Still missing: {packages}.</source>
        <translation type="unfinished">Es fehlen noch: {packages}.</translation>
    </message>
    <message>
        <source>Still missing or damaged:</source>
        <translation type="unfinished">Noch immer fehlend oder beschädigt:</translation>
    </message>
    <message>
        <source>Slicer is installing packages for another module. Wait until it is done, and try again.</source>
        <translation type="unfinished">Slicer installiert gerade Pakete für ein anderes Modul. Warten Sie, bis das fertig ist, und versuchen Sie es noch einmal.</translation>
    </message>
</context>
<context>
    <name>installation.packages</name>
    <message>
        <source>present</source>
        <translation type="unfinished">vorhanden</translation>
    </message>
    <message>
        <source>missing</source>
        <translation type="unfinished">fehlt</translation>
    </message>
    <message>
        <source>too old</source>
        <translation type="unfinished">zu alt</translation>
    </message>
    <message>
        <source>another version is needed</source>
        <translation type="unfinished">eine andere Version wird gebraucht</translation>
    </message>
    <message>
        <source>damaged</source>
        <translation type="unfinished">beschädigt</translation>
    </message>
    <message>
        <source>learning and fitting</source>
        <translation type="unfinished">Lernen und Anpassen</translation>
    </message>
    <message>
        <source>reads NIfTI files</source>
        <translation type="unfinished">liest NIfTI-Dateien</translation>
    </message>
    <message>
        <source>compiles the drawing of Gaussians for this processor</source>
        <translation type="unfinished">übersetzt das Zeichnen der Gauß-Funktionen für diesen Prozessor</translation>
    </message>
    <message>
        <source>how structures move from slice to slice</source>
        <translation type="unfinished">wie sich Strukturen von Schicht zu Schicht bewegen</translation>
    </message>
    <message>
        <source>how much memory is free</source>
        <translation type="unfinished">wie viel Arbeitsspeicher frei ist</translation>
    </message>
    <message>
        <source>reads NRRD files</source>
        <translation type="unfinished">liest NRRD-Dateien</translation>
    </message>
    <message>
        <source>model files</source>
        <translation type="unfinished">Dateien der Modelle</translation>
    </message>
    <message>
        <source>numerics</source>
        <translation type="unfinished">Numerik</translation>
    </message>
    <message>
        <source>computing on an NVIDIA GPU</source>
        <translation type="unfinished">Rechnen auf einer NVIDIA-GPU</translation>
    </message>
    <message>
        <source>it needs {packages}</source>
        <translation type="unfinished">es braucht {packages}</translation>
    </message>
</context>
<context>
    <name>installation.packages_dialog</name>
    <message>
        <source>Triplane Gaussian Reconstruction: Python packages</source>
        <translation type="unfinished">Triplane Gaussian Reconstruction: Python-Pakete</translation>
    </message>
    <message>
        <source>Copy</source>
        <translation type="unfinished">Kopieren</translation>
    </message>
    <message>
        <source>Copy the list as a text, such as a report of a fault wants.</source>
        <translation type="unfinished">Kopiert die Liste als Text, zum Beispiel für eine Fehlermeldung.</translation>
    </message>
    <message>
        <source>Repair...</source>
        <translation type="unfinished">Reparieren ...</translation>
    </message>
    <message>
        <source>Download and install what is missing, too old or damaged. You are asked before.</source>
        <translation type="unfinished">Lädt herunter und installiert, was fehlt, zu alt oder beschädigt ist. Sie werden vorher gefragt.</translation>
    </message>
    <message>
        <source>Upgrade...</source>
        <translation type="unfinished">Erneuern ...</translation>
    </message>
    <message>
        <source>Download and install the newest versions that fit. You are asked before.</source>
        <translation type="unfinished">Lädt die neuesten passenden Versionen herunter und installiert sie. Sie werden vorher gefragt.</translation>
    </message>
    <message>
        <source>Close</source>
        <translation type="unfinished">Schließen</translation>
    </message>
    <message>
        <source>Looking whether each can be imported; this takes some seconds...</source>
        <translation type="unfinished">Prüft, ob sich jedes importieren lässt; das dauert einige Sekunden ...</translation>
    </message>
    <message>
        <source>Missing, too old or damaged: {packages}.</source>
        <translation type="unfinished">Fehlend, zu alt oder beschädigt: {packages}.</translation>
    </message>
    <message>
        <source>Everything is there and can be imported.</source>
        <translation type="unfinished">Alles ist da und lässt sich importieren.</translation>
    </message>
    <message>
        <source>In use by this Slicer, so that a change of it takes a restart: {packages}.</source>
        <translation type="unfinished">In diesem Slicer in Gebrauch, so dass eine Änderung einen Neustart braucht: {packages}.</translation>
    </message>
    <message>
        <source>Package</source>
        <translation type="unfinished">Paket</translation>
    </message>
    <message>
        <source>For what</source>
        <translation type="unfinished">Wofür</translation>
    </message>
    <message>
        <source>Installed</source>
        <translation type="unfinished">Installiert</translation>
    </message>
    <message>
        <source>Required</source>
        <translation type="unfinished">Gebraucht</translation>
    </message>
    <message>
        <source>State</source>
        <translation type="unfinished">Zustand</translation>
    </message>
    <message>
        <source>looking...</source>
        <translation type="unfinished">wird geprüft ...</translation>
    </message>
    <message>
        <source>any</source>
        <translation type="unfinished">beliebig</translation>
    </message>
</context>
<context>
    <name>installation.remedies</name>
    <message>
        <source>The log says why; its last lines are the most telling ones.</source>
        <translation type="unfinished">Das Protokoll sagt, warum; die letzten Zeilen sagen am meisten.</translation>
    </message>
    <message>
        <source>The pip in Slicer&apos;s Python is too old. In the Python console, type slicer.util.pip_install(&apos;--upgrade pip&apos;), restart Slicer and try again.</source>
        <translation type="unfinished">Das pip im Python von Slicer ist zu alt. Geben Sie in der Python-Konsole slicer.util.pip_install(&apos;--upgrade pip&apos;) ein, starten Sie Slicer neu, und versuchen Sie es noch einmal.</translation>
    </message>
    <message>
        <source>A file was changed or withheld on its way, as antivirus programs and some proxies do. Let the antivirus program except Slicer&apos;s folder, or ask who looks after this computer; then try again.</source>
        <translation type="unfinished">Eine Datei wurde unterwegs verändert oder zurückgehalten, wie es Virenschutzprogramme und manche Proxys tun. Nehmen Sie den Ordner von Slicer im Virenschutz aus, oder fragen Sie, wer diesen Computer betreut; versuchen Sie es dann noch einmal.</translation>
    </message>
    <message>
        <source>A path is too long for Windows. Install Slicer into a folder with a short path, or allow long paths in Windows.</source>
        <translation type="unfinished">Ein Pfad ist zu lang für Windows. Installieren Sie Slicer in einen Ordner mit kurzem Pfad, oder erlauben Sie lange Pfade in Windows.</translation>
    </message>
    <message>
        <source>The disk is full: make room and try again.</source>
        <translation type="unfinished">Die Festplatte ist voll: Schaffen Sie Platz, und versuchen Sie es noch einmal.</translation>
    </message>
    <message>
        <source>Files are in use or may not be written. Restart Slicer, close its other windows, and try this before anything else; Slicer has to be in a folder that you may write to.</source>
        <translation type="unfinished">Dateien sind in Gebrauch oder dürfen nicht geschrieben werden. Starten Sie Slicer neu, schließen Sie seine anderen Fenster, und versuchen Sie dies vor allem anderen; Slicer muss in einem Ordner liegen, in den Sie schreiben dürfen.</translation>
    </message>
    <message>
        <source>The proxy refused the connection. Set the environment variable HTTPS_PROXY to http://user:password@host:port before Slicer is started.</source>
        <translation type="unfinished">Der Proxy hat die Verbindung abgelehnt. Setzen Sie die Umgebungsvariable HTTPS_PROXY auf http://user:password@host:port, bevor Slicer gestartet wird.</translation>
    </message>
    <message>
        <source>A certificate was not accepted, as happens behind proxies that look into connections. Set the environment variable PIP_CERT to the file of your organisation&apos;s certificates before Slicer is started.</source>
        <translation type="unfinished">Ein Zertifikat wurde nicht angenommen, wie es hinter Proxys geschieht, die in Verbindungen hineinsehen. Setzen Sie die Umgebungsvariable PIP_CERT auf die Datei mit den Zertifikaten Ihrer Organisation, bevor Slicer gestartet wird.</translation>
    </message>
    <message>
        <source>The internet could not be reached. Connect and try again; behind a proxy, set the environment variable HTTPS_PROXY to http://host:port before Slicer is started.</source>
        <translation type="unfinished">Das Internet war nicht zu erreichen. Verbinden Sie sich, und versuchen Sie es noch einmal; hinter einem Proxy setzen Sie die Umgebungsvariable HTTPS_PROXY auf http://host:port, bevor Slicer gestartet wird.</translation>
    </message>
    <message>
        <source>The server download.pytorch.org, from which torch comes, could not be reached. Let the firewall or proxy let it through, and try again.</source>
        <translation type="unfinished">Der Server download.pytorch.org, von dem torch kommt, war nicht zu erreichen. Lassen Sie ihn in der Firewall oder im Proxy zu, und versuchen Sie es noch einmal.</translation>
    </message>
    <message>
        <source>An earlier installation was broken off. In Slicer&apos;s folder lib/Python/Lib/site-packages, delete what that package left there (for torch: the folders whose names start with &apos;torch-&apos; or &apos;~orch&apos;), and try again.</source>
        <translation type="unfinished">Eine frühere Installation wurde abgebrochen. Löschen Sie im Ordner lib/Python/Lib/site-packages von Slicer, was dieses Paket dort hinterlassen hat (bei torch: die Ordner, deren Namen mit &apos;torch-&apos; oder &apos;~orch&apos; beginnen), und versuchen Sie es noch einmal.</translation>
    </message>
    <message>
        <source>No version fits what is installed. A newer Slicer may help; or uninstall the conflicting package, which the log names, if another extension brought it.</source>
        <translation type="unfinished">Keine Version passt zu dem, was installiert ist. Ein neueres Slicer kann helfen; oder deinstallieren Sie das Paket, das dem entgegensteht und das das Protokoll nennt, falls eine andere Erweiterung es mitgebracht hat.</translation>
    </message>
    <message>
        <source>There is no version of a package for this Slicer&apos;s Python and this system; the log names it. If you are behind a proxy or a mirror of PyPI, it may be that this lacks the package. Otherwise a newer Slicer may help.</source>
        <translation type="unfinished">Für das Python dieses Slicer und dieses System gibt es keine Version eines Pakets; das Protokoll nennt es. Hinter einem Proxy oder einem Spiegel von PyPI kann es sein, dass es dort fehlt. Sonst kann ein neueres Slicer helfen.</translation>
    </message>
</context>
<context>
    <name>installation.tasks</name>
    <message>
        <source>A reconstruction needs Python packages that are not installed yet. They are downloaded into Slicer&apos;s own Python; other extensions may use them too. Nothing is sent.</source>
        <translation type="unfinished">Für eine Rekonstruktion werden Python-Pakete gebraucht, die noch nicht installiert sind. Sie werden in das Python von Slicer heruntergeladen; andere Erweiterungen können sie auch verwenden. Es wird nichts verschickt.</translation>
    </message>
    <message>
        <source>Install them now?</source>
        <translation type="unfinished">Jetzt installieren?</translation>
    </message>
    <message>
        <source>Install</source>
        <translation type="unfinished">Installieren</translation>
    </message>
    <message>
        <source>Everything is installed.</source>
        <translation type="unfinished">Alles ist installiert.</translation>
    </message>
    <message>
        <source>These packages are downloaded and installed anew. Other extensions may use them too. What 3D Slicer brings stays as it is. Nothing is sent.</source>
        <translation type="unfinished">Diese Pakete werden heruntergeladen und neu installiert. Andere Erweiterungen können sie auch verwenden. Was 3D Slicer mitbringt, bleibt, wie es ist. Es wird nichts verschickt.</translation>
    </message>
    <message>
        <source>Repair them now?</source>
        <translation type="unfinished">Jetzt reparieren?</translation>
    </message>
    <message>
        <source>Repair</source>
        <translation type="unfinished">Reparieren</translation>
    </message>
    <message>
        <source>What was missing, too old or damaged has been installed.</source>
        <translation type="unfinished">Was fehlte, zu alt oder beschädigt war, ist installiert.</translation>
    </message>
    <message>
        <source>Nothing had to be repaired.</source>
        <translation type="unfinished">Es war nichts zu reparieren.</translation>
    </message>
    <message>
        <source>The newest versions that fit are downloaded and installed. Other extensions may use these packages too, and may need older ones. What 3D Slicer brings stays as it is. Nothing is sent.</source>
        <translation type="unfinished">Die neuesten passenden Versionen werden heruntergeladen und installiert. Andere Erweiterungen können diese Pakete auch verwenden und brauchen vielleicht ältere. Was 3D Slicer mitbringt, bleibt, wie es ist. Es wird nichts verschickt.</translation>
    </message>
    <message>
        <source>{package}, now {version}</source>
        <translation type="unfinished">{package}, jetzt {version}</translation>
    </message>
    <message>
        <source>Upgrade them now?</source>
        <translation type="unfinished">Jetzt erneuern?</translation>
    </message>
    <message>
        <source>Upgrade</source>
        <translation type="unfinished">Erneuern</translation>
    </message>
    <message>
        <source>Newer versions have been installed.</source>
        <translation type="unfinished">Neuere Versionen sind installiert.</translation>
    </message>
    <message>
        <source>Everything is as new as it can be.</source>
        <translation type="unfinished">Alles ist so neu, wie es sein kann.</translation>
    </message>
</context>
<context>
    <name>panel.before_after</name>
    <message>
        <source>Show before</source>
        <translation type="unfinished">Vorher zeigen</translation>
    </message>
    <message>
        <source>Show after</source>
        <translation type="unfinished">Nachher zeigen</translation>
    </message>
</context>
<context>
    <name>panel.device_choice</name>
    <message>
        <source>Automatic</source>
        <translation type="unfinished">Automatisch</translation>
    </message>
    <message>
        <source>Looking for graphics cards...</source>
        <translation type="unfinished">Sucht nach Grafikkarten ...</translation>
    </message>
    <message>
        <source>This computer has no device {device}. Choose another one.</source>
        <translation type="unfinished">Dieser Computer hat kein Gerät {device}. Wählen Sie ein anderes.</translation>
    </message>
    <message>
        <source>What there is to compute on will be known once the Python packages are installed.</source>
        <translation type="unfinished">Worauf gerechnet werden kann, ist bekannt, sobald die Python-Pakete installiert sind.</translation>
    </message>
    <message>
        <source>Computed on the processor. {reason}</source>
        <translation type="unfinished">Es rechnet der Prozessor. {reason}</translation>
    </message>
    <message>
        <source>CPU</source>
        <translation type="unfinished">CPU</translation>
    </message>
    <message>
        <source>{kind}: {name}, {memory}</source>
        <translation type="unfinished">{kind}: {name}, {memory}</translation>
    </message>
</context>
<context>
    <name>panel.folder_dialog</name>
    <message>
        <source>Reconstruct a folder...</source>
        <translation type="unfinished">Einen Ordner rekonstruieren ...</translation>
    </message>
    <message>
        <source>Reconstruct all volumes of a folder, in a process of their own; Slicer can be used meanwhile.</source>
        <translation type="unfinished">Rekonstruiert alle Volumen eines Ordners in einem eigenen Prozess; Slicer kann währenddessen benutzt werden.</translation>
    </message>
    <message>
        <source>Reconstruct a folder</source>
        <translation type="unfinished">Einen Ordner rekonstruieren</translation>
    </message>
    <message>
        <source>all; or a list such as 0,4,8-20</source>
        <translation type="unfinished">alle; oder eine Liste wie 0,4,8-20</translation>
    </message>
    <message>
        <source>Try again what has failed before</source>
        <translation type="unfinished">Erneut versuchen, was zuvor fehlgeschlagen ist</translation>
    </message>
    <message>
        <source>Start</source>
        <translation type="unfinished">Starten</translation>
    </message>
    <message>
        <source>Show results</source>
        <translation type="unfinished">Ergebnisse zeigen</translation>
    </message>
    <message>
        <source>Folder with volumes:</source>
        <translation type="unfinished">Ordner mit Volumen:</translation>
    </message>
    <message>
        <source>Folder for results:</source>
        <translation type="unfinished">Ordner für Ergebnisse:</translation>
    </message>
    <message>
        <source>Choose...</source>
        <translation type="unfinished">Wählen ...</translation>
    </message>
    <message>
        <source>Slices to use:</source>
        <translation type="unfinished">Zu verwendende Schichten:</translation>
    </message>
    <message>
        <source>Quality:</source>
        <translation type="unfinished">Qualität:</translation>
    </message>
    <message>
        <source>Choose a folder</source>
        <translation type="unfinished">Einen Ordner wählen</translation>
    </message>
    <message>
        <source>Choose both folders first.</source>
        <translation type="unfinished">Wählen Sie zuerst beide Ordner.</translation>
    </message>
    <message>
        <source>Starting. This window can be closed meanwhile.</source>
        <translation type="unfinished">Startet. Dieses Fenster kann währenddessen geschlossen werden.</translation>
    </message>
    <message>
        <source>{done} done, {failed} failed, of {total}.</source>
        <translation type="unfinished">{done} fertig, {failed} fehlgeschlagen, von {total}.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Abbrechen</translation>
    </message>
</context>
<context>
    <name>panel.further_settings</name>
    <message>
        <source>Of &apos;{name}&apos;:</source>
        <translation type="unfinished">Von &apos;{name}&apos;:</translation>
    </message>
    <message>
        <source>Of &apos;{name}&apos;, which is not used unless checked:</source>
        <translation type="unfinished">Von &apos;{name}&apos;, das nur verwendet wird, wenn es angekreuzt ist:</translation>
    </message>
</context>
<context>
    <name>panel.further_volumes</name>
    <message>
        <source>Without slices {slices}.</source>
        <translation type="unfinished">Ohne die Schichten {slices}.</translation>
    </message>
    <message>
        <source>Labels: &apos;{name}&apos;.</source>
        <translation type="unfinished">Label: &apos;{name}&apos;.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos;: {meaning}</source>
        <translation type="unfinished">&apos;{name}&apos;: {meaning}</translation>
    </message>
</context>
<context>
    <name>panel.input_choice</name>
    <message>
        <source>Lies on other voxels than this volume: it is resampled.</source>
        <translation type="unfinished">Liegt auf anderen Voxeln als dieses Volumen: Sie wird umgerechnet.</translation>
    </message>
    <message>
        <source>Drawn on &apos;{name}&apos;, not on this volume: it is resampled.</source>
        <translation type="unfinished">Auf &apos;{name}&apos; gezeichnet, nicht auf diesem Volumen: Sie wird umgerechnet.</translation>
    </message>
</context>
<context>
    <name>panel.meaning</name>
    <message>
        <source>The slices on which a chosen segment has a voxel.</source>
        <translation type="unfinished">Die Schichten, auf denen ein gewähltes Segment ein Voxel hat.</translation>
    </message>
</context>
<context>
    <name>panel.next_slice</name>
    <message>
        <source>Draw slice {index} next</source>
        <translation type="unfinished">Als Nächstes Schicht {index} zeichnen</translation>
    </message>
    <message>
        <source>The view {view} shows slice {index}. Draw on it in the Segment Editor, then reconstruct again.</source>
        <translation type="unfinished">Die Ansicht {view} zeigt Schicht {index}. Zeichnen Sie darauf im Segment Editor, und rekonstruieren Sie dann erneut.</translation>
    </message>
    <message>
        <source>The view {view} shows slice {index}. Draw on it in the Segment Editor unless you have, add it to the list under &apos;Labels from&apos;, then reconstruct again.</source>
        <translation type="unfinished">Die Ansicht {view} zeigt Schicht {index}. Zeichnen Sie darauf im Segment Editor, wenn es noch nicht geschehen ist, fügen Sie sie der Liste unter &apos;Label aus&apos; hinzu, und rekonstruieren Sie noch einmal.</translation>
    </message>
</context>
<context>
    <name>panel.obstacle</name>
    <message>
        <source>Choose an input volume first.</source>
        <translation type="unfinished">Wählen Sie zuerst ein Eingangsvolumen.</translation>
    </message>
    <message>
        <source>Choose the segmentation that is to be filled.</source>
        <translation type="unfinished">Wählen Sie die Segmentierung, die gefüllt werden soll.</translation>
    </message>
    <message>
        <source>Check at least one volume in the list &apos;Further volumes of the same body&apos; below.</source>
        <translation type="unfinished">Haken Sie unten in der Liste &apos;Weitere Volumen desselben Körpers&apos; mindestens ein Volumen an.</translation>
    </message>
    <message>
        <source>Say which slices are bad: show each in a slice view and press &apos;Exclude current slice&apos;, or write their numbers, such as 7,12,20-23.</source>
        <translation type="unfinished">Sagen Sie, welche Schichten schlecht sind: Zeigen Sie jede in einer Schichtansicht und drücken Sie &apos;Aktuelle Schicht ausschließen&apos;, oder schreiben Sie ihre Nummern, etwa 7,12,20-23.</translation>
    </message>
    <message>
        <source>Check at least one segment.</source>
        <translation type="unfinished">Wählen Sie mindestens ein Segment aus.</translation>
    </message>
    <message>
        <source>Check at least one segment, or choose no segmentation.</source>
        <translation type="unfinished">Kreuzen Sie mindestens ein Segment an, oder wählen Sie keine Segmentierung.</translation>
    </message>
    <message>
        <source>Slices to use</source>
        <translation type="unfinished">Zu verwendende Schichten</translation>
    </message>
    <message>
        <source>Excluded slices</source>
        <translation type="unfinished">Ausgeschlossene Schichten</translation>
    </message>
    <message>
        <source>Labels from</source>
        <translation type="unfinished">Label aus</translation>
    </message>
    <message>
        <source>Empty slices</source>
        <translation type="unfinished">Leere Schichten</translation>
    </message>
    <message>
        <source>No excluded slice lies in the region. Move the region to one, or choose the whole volume.</source>
        <translation type="unfinished">Im Bereich liegt keine ausgeschlossene Schicht. Verschieben Sie ihn zu einer, oder wählen Sie das ganze Volumen.</translation>
    </message>
    <message>
        <source>{row}: {reason}</source>
        <translation type="unfinished">{row}: {reason}</translation>
    </message>
</context>
<context>
    <name>panel.packages_button</name>
    <message>
        <source>A reconstruction is running. Wait until it is done.</source>
        <translation type="unfinished">Eine Rekonstruktion läuft. Warten Sie, bis sie fertig ist.</translation>
    </message>
</context>
<context>
    <name>panel.plane_drawing</name>
    <message>
        <source>The plane could not be drawn.</source>
        <translation type="unfinished">Die Ebene konnte nicht gezeichnet werden.</translation>
    </message>
    <message>
        <source>The result was removed meanwhile.</source>
        <translation type="unfinished">Das Ergebnis wurde inzwischen entfernt.</translation>
    </message>
    <message>
        <source>The plane could not be read.</source>
        <translation type="unfinished">Die Ebene konnte nicht gelesen werden.</translation>
    </message>
    <message>
        <source>{name} plane</source>
        <translation type="unfinished">Ebene von {name}</translation>
    </message>
</context>
<context>
    <name>panel.progress_view</name>
    <message>
        <source>Starting...</source>
        <translation type="unfinished">Startet ...</translation>
    </message>
    <message>
        <source>{stage}, {time} left</source>
        <translation type="unfinished">{stage}, noch {time}</translation>
    </message>
    <message>
        <source>Cancelling...</source>
        <translation type="unfinished">Bricht ab ...</translation>
    </message>
</context>
<context>
    <name>panel.quality_choice</name>
    <message>
        <source>{quality}: about {time}</source>
        <translation type="unfinished">{quality}: etwa {time}</translation>
    </message>
    <message>
        <source>{quality}: about {time}, as a guess</source>
        <translation type="unfinished">{quality}: geschätzt etwa {time}</translation>
    </message>
</context>
<context>
    <name>panel.results_view</name>
    <message>
        <source>Nothing has been reconstructed yet.</source>
        <translation type="unfinished">Es wurde noch nichts rekonstruiert.</translation>
    </message>
    <message>
        <source>Drawing...</source>
        <translation type="unfinished">Wird gezeichnet...</translation>
    </message>
    <message>
        <source>Render plane</source>
        <translation type="unfinished">Ebene zeichnen</translation>
    </message>
    <message>
        <source>A plane is being drawn.</source>
        <translation type="unfinished">Eine Ebene wird gezeichnet.</translation>
    </message>
    <message>
        <source>Compare</source>
        <translation type="unfinished">Vergleichen</translation>
    </message>
    <message>
        <source>Leave Compare</source>
        <translation type="unfinished">Vergleich verlassen</translation>
    </message>
    <message>
        <source>Table</source>
        <translation type="unfinished">Tabelle</translation>
    </message>
    <message>
        <source>Hide table</source>
        <translation type="unfinished">Tabelle ausblenden</translation>
    </message>
    <message>
        <source>Plot</source>
        <translation type="unfinished">Diagramm</translation>
    </message>
    <message>
        <source>Hide plot</source>
        <translation type="unfinished">Diagramm ausblenden</translation>
    </message>
    <message>
        <source>Hide certainty</source>
        <translation type="unfinished">Sicherheit ausblenden</translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Sicherheit zeigen</translation>
    </message>
    <message>
        <source>The model is not there any more. Reconstruct again, and export it before Slicer is closed.</source>
        <translation type="unfinished">Das Modell ist nicht mehr da. Rekonstruieren Sie erneut, und exportieren Sie es, bevor Slicer geschlossen wird.</translation>
    </message>
    <message>
        <source>The model could not be written to {path}: {reason}.</source>
        <translation type="unfinished">Das Modell konnte nicht nach {path} geschrieben werden: {reason}.</translation>
    </message>
    <message>
        <source>Result of a volume that is not in the scene any more.</source>
        <translation type="unfinished">Ergebnis eines Volumens, das nicht mehr in der Szene ist.</translation>
    </message>
    <message>
        <source>Result of another volume: &apos;{volume}&apos;.</source>
        <translation type="unfinished">Ergebnis eines anderen Volumens: &apos;{volume}&apos;.</translation>
    </message>
    <message>
        <source>Result of &apos;{volume}&apos; with {others}:</source>
        <translation type="unfinished">Ergebnis von &apos;{volume}&apos; mit {others}:</translation>
    </message>
    <message>
        <source>Result of &apos;{volume}&apos;:</source>
        <translation type="unfinished">Ergebnis von &apos;{volume}&apos;:</translation>
    </message>
    <message>
        <source>Expected error: {error} on average, in units of the volume.</source>
        <translation type="unfinished">Erwarteter Fehler: im Mittel {error}, in Einheiten des Volumens.</translation>
    </message>
    <message>
        <source>Nothing was predicted: every slice of the result is one that was used.</source>
        <translation type="unfinished">Nichts wurde vorhergesagt: Jede Schicht des Ergebnisses ist eine verwendete.</translation>
    </message>
    <message>
        <source>No slice view is shown, whose plane could be drawn. Choose a layout with one.</source>
        <translation type="unfinished">Es gibt keine Schichtansicht, deren Ebene gezeichnet werden könnte. Wählen Sie eine Anordnung mit einer.</translation>
    </message>
    <message>
        <source>Export model</source>
        <translation type="unfinished">Modell exportieren</translation>
    </message>
    <message>
        <source>Models (*.safetensors)</source>
        <translation type="unfinished">Modelle (*.safetensors)</translation>
    </message>
</context>
<context>
    <name>panel.show_3d</name>
    <message>
        <source>Hide 3D</source>
        <translation type="unfinished">3D ausblenden</translation>
    </message>
    <message>
        <source>Show 3D</source>
        <translation type="unfinished">3D zeigen</translation>
    </message>
    <message>
        <source>Show the filled segmentation in the 3D view, or hide it there.</source>
        <translation type="unfinished">Zeigt die gefüllte Segmentierung in der 3D-Ansicht, oder blendet sie dort aus.</translation>
    </message>
    <message>
        <source>3D: {done} of {count}...</source>
        <translation type="unfinished">3D: {done} von {count} ...</translation>
    </message>
    <message>
        <source>The surfaces of the segments are being made. Press to stop.</source>
        <translation type="unfinished">Die Oberflächen der Segmente werden erzeugt. Drücken, um anzuhalten.</translation>
    </message>
</context>
<context>
    <name>panel.slice_views</name>
    <message>
        <source>The slice view {view} does not show the volume. Scroll to the slice first.</source>
        <translation type="unfinished">Die Schichtansicht {view} zeigt das Volumen nicht. Blättern Sie zuerst zu der Schicht.</translation>
    </message>
    <message>
        <source>No slice view shows slices along axis {axis}. Choose a layout with such a view.</source>
        <translation type="unfinished">Keine Schichtansicht zeigt Schichten entlang der Achse {axis}. Wählen Sie eine Anordnung mit einer solchen Ansicht.</translation>
    </message>
</context>
<context>
    <name>panel.task_choice</name>
    <message>
        <source>Automatic: {task}</source>
        <translation type="unfinished">Automatisch: {task}</translation>
    </message>
    <message>
        <source>Segmentation:</source>
        <translation type="unfinished">Segmentierung:</translation>
    </message>
    <message>
        <source>Segmentation (optional):</source>
        <translation type="unfinished">Segmentierung (freiwillig):</translation>
    </message>
</context>
<context>
    <name>panel.views</name>
    <message>
        <source>Labels in doubt on each slice</source>
        <translation type="unfinished">Zweifelhafte Label jeder Schicht</translation>
    </message>
    <message>
        <source>Expected error of each slice</source>
        <translation type="unfinished">Erwarteter Fehler jeder Schicht</translation>
    </message>
    <message>
        <source>Slice of the input</source>
        <translation type="unfinished">Schicht des Eingangs</translation>
    </message>
    <message>
        <source>Voxels in doubt</source>
        <translation type="unfinished">Zweifelhafte Voxel</translation>
    </message>
    <message>
        <source>Expected error</source>
        <translation type="unfinished">Erwarteter Fehler</translation>
    </message>
    <message>
        <source>Input</source>
        <translation type="unfinished">Eingang</translation>
    </message>
    <message>
        <source>Certainty</source>
        <translation type="unfinished">Sicherheit</translation>
    </message>
    <message>
        <source>Result</source>
        <translation type="unfinished">Ergebnis</translation>
    </message>
    <message>
        <source>Error</source>
        <translation type="unfinished">Fehler</translation>
    </message>
</context>
<context>
    <name>panel.widget</name>
    <message>
        <source>Choose an input volume first.</source>
        <translation type="unfinished">Wählen Sie zuerst ein Eingangsvolumen.</translation>
    </message>
    <message>
        <source>Looking where the segmentation is drawn...</source>
        <translation type="unfinished">Sieht nach, wo die Segmentierung gezeichnet ist...</translation>
    </message>
    <message>
        <source>Reconstruct</source>
        <translation type="unfinished">Rekonstruieren</translation>
    </message>
    <message>
        <source>A reconstruction that was started elsewhere, such as in the Python console, is running. Wait until it is done.</source>
        <translation type="unfinished">Eine Rekonstruktion, die anderswo gestartet wurde, etwa in der Python-Konsole, läuft. Warten Sie, bis sie fertig ist.</translation>
    </message>
    <message>
        <source>Fill in what is missing between the used slices.</source>
        <translation type="unfinished">Ergänzt, was zwischen den verwendeten Schichten fehlt.</translation>
    </message>
    <message>
        <source>Cancelling...</source>
        <translation type="unfinished">Bricht ab ...</translation>
    </message>
    <message>
        <source>It ends within two seconds.</source>
        <translation type="unfinished">Es endet innerhalb von zwei Sekunden.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Abbrechen</translation>
    </message>
    <message>
        <source>Stop. The scene stays as it is.</source>
        <translation type="unfinished">Hält an. Die Szene bleibt, wie sie ist.</translation>
    </message>
    <message>
        <source>Python packages are missing, without which nothing can be reconstructed.</source>
        <translation type="unfinished">Es fehlen Python-Pakete, ohne die nichts rekonstruiert werden kann.</translation>
    </message>
    <message>
        <source>Done in {time}.</source>
        <translation type="unfinished">Fertig in {time}.</translation>
    </message>
    <message>
        <source>Cancelled. The scene is as it was.</source>
        <translation type="unfinished">Abgebrochen. Die Szene ist, wie sie war.</translation>
    </message>
    <message>
        <source>Slice {index}, which the view {view} shows, is excluded.</source>
        <translation type="unfinished">Schicht {index}, die die Ansicht {view} zeigt, ist ausgeschlossen.</translation>
    </message>
    <message>
        <source>Slice {index}, which the view {view} shows, counts as empty, or as fully drawn if something is drawn on it.</source>
        <translation type="unfinished">Schicht {index}, die die Ansicht {view} zeigt, gilt als leer, oder als ganz gezeichnet, wenn etwas auf ihr gezeichnet ist.</translation>
    </message>
    <message>
        <source>The view {view} was turned to the slices. It shows slice {index}: press again if that is the one.</source>
        <translation type="unfinished">Die Ansicht {view} wurde zu den Schichten gedreht. Sie zeigt Schicht {index}: Drücken Sie noch einmal, wenn es diese ist.</translation>
    </message>
    <message>
        <source>{name} is loaded. Press Reconstruct.</source>
        <translation type="unfinished">{name} ist geladen. Drücken Sie Rekonstruieren.</translation>
    </message>
    <message>
        <source>The plane is shown, and was added as &apos;{name}&apos;.</source>
        <translation type="unfinished">Die Ebene wird gezeigt und wurde als &apos;{name}&apos; hinzugefügt.</translation>
    </message>
    <message>
        <source>Reconstruction: {text}</source>
        <translation type="unfinished">Rekonstruktion: {text}</translation>
    </message>
</context>
<context>
    <name>qSlicerAbstractCoreModule</name>
    <message>
        <source>Tomographic Reconstruction</source>
        <translation type="unfinished">Tomographische Rekonstruktion</translation>
    </message>
</context>
<context>
    <name>run.folder</name>
    <message>
        <source>Cancelled. What is done stays; start again to go on.</source>
        <translation type="unfinished">Abgebrochen. Was fertig ist, bleibt; starten Sie erneut, um weiterzumachen.</translation>
    </message>
    <message>
        <source>The results would lie among the volumes. Choose another folder for them.</source>
        <translation type="unfinished">Die Ergebnisse lägen zwischen den Volumen. Wählen Sie einen anderen Ordner für sie.</translation>
    </message>
    <message>
        <source>The folder &apos;{folder}&apos; cannot be made: {cause}. Choose another one.</source>
        <translation type="unfinished">Der Ordner &apos;{folder}&apos; kann nicht angelegt werden: {cause}. Wählen Sie einen anderen.</translation>
    </message>
    <message>
        <source>The folder &apos;{folder}&apos; cannot be read: {cause}. Choose one with volumes.</source>
        <translation type="unfinished">Der Ordner &apos;{folder}&apos; kann nicht gelesen werden: {cause}. Wählen Sie einen mit Volumen.</translation>
    </message>
    <message>
        <source>In &apos;{folder}&apos; there is no volume ({extensions}).</source>
        <translation type="unfinished">In &apos;{folder}&apos; ist kein Volumen ({extensions}).</translation>
    </message>
</context>
<context>
    <name>run.further_settings</name>
    <message>
        <source>Of a further volume there is no choice &apos;{name}&apos;. Choose of {known}.</source>
        <translation type="unfinished">Für ein weiteres Volumen gibt es keine Einstellung &apos;{name}&apos;. Wählen Sie aus {known}.</translation>
    </message>
</context>
<context>
    <name>run.logic</name>
    <message>
        <source>The module was closed.</source>
        <translation type="unfinished">Das Modul wurde geschlossen.</translation>
    </message>
    <message>
        <source>A reconstruction is running already. Wait until it is done, or cancel it.</source>
        <translation type="unfinished">Eine Rekonstruktion läuft schon. Warten Sie, bis sie fertig ist, oder brechen Sie sie ab.</translation>
    </message>
</context>
<context>
    <name>run.parameters</name>
    <message>
        <source>Automatic (thickest slices)</source>
        <translation type="unfinished">Automatisch (dickste Schichten)</translation>
    </message>
    <message>
        <source>I (columns)</source>
        <translation type="unfinished">I (Spalten)</translation>
    </message>
    <message>
        <source>J (rows)</source>
        <translation type="unfinished">J (Zeilen)</translation>
    </message>
    <message>
        <source>K (slices)</source>
        <translation type="unfinished">K (Schichten)</translation>
    </message>
    <message>
        <source>All slices</source>
        <translation type="unfinished">Alle Schichten</translation>
    </message>
    <message>
        <source>Every Nth slice</source>
        <translation type="unfinished">Jede N-te Schicht</translation>
    </message>
    <message>
        <source>A percentage</source>
        <translation type="unfinished">Ein Prozentsatz</translation>
    </message>
    <message>
        <source>Slices that carry segmentation</source>
        <translation type="unfinished">Schichten mit Segmentierung</translation>
    </message>
    <message>
        <source>A list of slices</source>
        <translation type="unfinished">Eine Liste von Schichten</translation>
    </message>
    <message>
        <source>Drawn slices</source>
        <translation type="unfinished">Gezeichnete Schichten</translation>
    </message>
    <message>
        <source>Gaussian</source>
        <translation type="unfinished">Gauß</translation>
    </message>
    <message>
        <source>Box</source>
        <translation type="unfinished">Rechteck</translation>
    </message>
</context>
<context>
    <name>run.process</name>
    <message>
        <source>A job is running already. Cancel it, or wait until it has ended.</source>
        <translation type="unfinished">Ein Auftrag läuft schon. Brechen Sie ihn ab, oder warten Sie, bis er zu Ende ist.</translation>
    </message>
    <message>
        <source>The system ended the process, most likely because memory ran out. Close other programs, crop the volume, or choose a larger slice spacing or the quality Fast.</source>
        <translation type="unfinished">Das System hat den Prozess beendet, wahrscheinlich weil der Arbeitsspeicher voll war. Schließen Sie andere Programme, beschneiden Sie das Volumen, oder wählen Sie einen größeren Schichtabstand oder die Qualität Schnell.</translation>
    </message>
    <message>
        <source>The process ended before it was done (exit code {code}). Often memory has run out: close other programs, or crop the volume. The details may tell more.</source>
        <translation type="unfinished">Der Prozess endete, bevor er fertig war (Code {code}). Oft war der Arbeitsspeicher voll: Schließen Sie andere Programme, oder beschneiden Sie das Volumen. Die Einzelheiten sagen vielleicht mehr.</translation>
    </message>
</context>
<context>
    <name>run.python_process</name>
    <message>
        <source>{name}, which belongs to 3D Slicer, was not found. Install 3D Slicer again.</source>
        <translation type="unfinished">{name}, das zu 3D Slicer gehört, wurde nicht gefunden. Installieren Sie 3D Slicer neu.</translation>
    </message>
    <message>
        <source>Python could not be started: {reason}. Close other programs, or install 3D Slicer again.</source>
        <translation type="unfinished">Python konnte nicht gestartet werden: {reason}. Schließen Sie andere Programme, oder installieren Sie 3D Slicer neu.</translation>
    </message>
    <message>
        <source>The process crashed. Choose another device, or crop the volume; the details may tell why.</source>
        <translation type="unfinished">Der Prozess ist abgestürzt. Wählen Sie ein anderes Gerät, oder beschneiden Sie das Volumen; die Einzelheiten sagen vielleicht, warum.</translation>
    </message>
</context>
<context>
    <name>run.reconstruction</name>
    <message>
        <source>The reconstruction was cancelled.</source>
        <translation type="unfinished">Die Rekonstruktion wurde abgebrochen.</translation>
    </message>
    <message>
        <source>Frame {number} (counted from 0): {cause}</source>
        <translation type="unfinished">Bild {number} (ab 0 gezählt): {cause}</translation>
    </message>
    <message>
        <source>The input was modified while it was being reconstructed: the result belongs to the state in which it was before.</source>
        <translation type="unfinished">Der Eingang wurde während der Rekonstruktion verändert: Das Ergebnis gehört zu dem Zustand, in dem er vorher war.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; was removed from the scene before the reconstruction was done, so there is no result.</source>
        <translation type="unfinished">&apos;{name}&apos; wurde aus der Szene entfernt, bevor die Rekonstruktion fertig war; daher gibt es kein Ergebnis.</translation>
    </message>
    <message>
        <source>The scene was closed before the reconstruction was done, so there is no result.</source>
        <translation type="unfinished">Die Szene wurde geschlossen, bevor die Rekonstruktion fertig war; daher gibt es kein Ergebnis.</translation>
    </message>
    <message>
        <source>Nothing can be written to the folder for temporary files &apos;{folder}&apos;: {cause}. Choose another one in the application settings.</source>
        <translation type="unfinished">In den Ordner für temporäre Dateien &apos;{folder}&apos; kann nichts geschrieben werden: {cause}. Wählen Sie in den Einstellungen der Anwendung einen anderen.</translation>
    </message>
</context>
<context>
    <name>run.request</name>
    <message>
        <source>Cannot read the slices {slices}. Write their numbers, such as [0, 4, 8] or range(0, 20, 4), or a text such as &apos;0,4,8-20&apos;.</source>
        <translation type="unfinished">Die Schichten {slices} sind nicht zu lesen. Schreiben Sie ihre Nummern, etwa [0, 4, 8] oder range(0, 20, 4), oder einen Text wie &apos;0,4,8-20&apos;.</translation>
    </message>
    <message>
        <source>The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave it to the program, not {spacing}.</source>
        <translation type="unfinished">Der Schichtabstand des Ergebnisses muss eine positive Zahl von Millimetern sein, etwa 1.5, oder 0, um ihn dem Programm zu überlassen, nicht {spacing}.</translation>
    </message>
    <message>
        <source>The seed must be a whole number such as 1, not {seed}.</source>
        <translation type="unfinished">Der Startwert muss eine ganze Zahl wie 1 sein, nicht {seed}.</translation>
    </message>
    <message>
        <source>The memory that may be used must be a number of GB such as 6, or 0 for what is free, not {memory}.</source>
        <translation type="unfinished">Der erlaubte Arbeitsspeicher muss eine Zahl von GB wie 6 sein, oder 0 für das, was frei ist, nicht {memory}.</translation>
    </message>
    <message>
        <source>The number of threads must be a whole number such as 4, or 0 for as many as there are, not {threads}.</source>
        <translation type="unfinished">Die Zahl der Threads muss eine ganze Zahl wie 4 sein, oder 0 für so viele, wie es gibt, nicht {threads}.</translation>
    </message>
</context>
<context>
    <name>run.several</name>
    <message>
        <source>&apos;{name}&apos; is given twice. Choose other further volumes.</source>
        <translation type="unfinished">&apos;{name}&apos; ist zweimal angegeben. Wählen Sie andere weitere Volumen.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; shows a sequence. Several volumes are reconstructed only where each is a single one: choose a copy of a frame.</source>
        <translation type="unfinished">&apos;{name}&apos; zeigt eine Sequenz. Mehrere Volumen werden nur rekonstruiert, wenn jedes ein einzelnes ist: Wählen Sie die Kopie eines Bildes.</translation>
    </message>
    <message>
        <source>Unknown slice profile &apos;{profile}&apos;. Choose one of {known}.</source>
        <translation type="unfinished">Unbekanntes Schichtprofil &apos;{profile}&apos;. Wählen Sie eines aus {known}.</translation>
    </message>
    <message>
        <source>An even texture does not go with further volumes. Uncheck one of both.</source>
        <translation type="unfinished">Gleichmäßige Textur geht nicht mit weiteren Volumen. Nehmen Sie eines von beiden weg.</translation>
    </message>
    <message>
        <source>A region does not go with further volumes. Choose the whole volume, or crop all of them in the module &apos;Crop Volume&apos;.</source>
        <translation type="unfinished">Ein Bereich geht nicht mit weiteren Volumen. Wählen Sie das ganze Volumen, oder beschneiden Sie alle im Modul &apos;Crop Volume&apos;.</translation>
    </message>
    <message>
        <source>Used slices cannot stay as they are where volumes are combined, since the result has voxels of its own. Leave the further volumes out, or &apos;keepUsedSlices&apos;.</source>
        <translation type="unfinished">Verwendete Schichten können nicht bleiben, wie sie sind, wo Volumen verbunden werden, da das Ergebnis eigene Voxel hat. Lassen Sie die weiteren Volumen weg oder &apos;keepUsedSlices&apos;.</translation>
    </message>
    <message>
        <source>The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave it to the program, not {spacing}.</source>
        <translation type="unfinished">Der Schichtabstand des Ergebnisses muss eine positive Zahl von Millimetern sein, etwa 1.5, oder 0, um ihn dem Programm zu überlassen, nicht {spacing}.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos;: {cause}</source>
        <translation type="unfinished">&apos;{name}&apos;: {cause}</translation>
    </message>
    <message>
        <source>Cannot read the slice thickness &apos;{thickness}&apos;. Give one number of millimetres for all volumes, or {count} with commas between them, one for each; 0 for the slice distance.</source>
        <translation type="unfinished">Die Schichtdicke &apos;{thickness}&apos; ist nicht zu lesen. Geben Sie eine Zahl von Millimetern für alle Volumen an, oder {count} durch Kommas getrennt, eine für jedes; 0 für den Schichtabstand.</translation>
    </message>
</context>
<context>
    <name>run.surfaces</name>
    <message>
        <source>The surfaces are not made any more.</source>
        <translation type="unfinished">Die Oberflächen werden nicht mehr erzeugt.</translation>
    </message>
    <message>
        <source>The segmentation was removed meanwhile.</source>
        <translation type="unfinished">Die Segmentierung wurde inzwischen entfernt.</translation>
    </message>
    <message>
        <source>The surfaces could not be made.</source>
        <translation type="unfinished">Die Oberflächen konnten nicht erzeugt werden.</translation>
    </message>
</context>
<context>
    <name>run.task</name>
    <message>
        <source>Automatic</source>
        <translation type="unfinished">Automatisch</translation>
    </message>
    <message>
        <source>Make slices thinner</source>
        <translation type="unfinished">Schichten dünner machen</translation>
    </message>
    <message>
        <source>Replace bad slices</source>
        <translation type="unfinished">Schlechte Schichten ersetzen</translation>
    </message>
    <message>
        <source>Fill a segmentation</source>
        <translation type="unfinished">Eine Segmentierung füllen</translation>
    </message>
    <message>
        <source>Combine volumes</source>
        <translation type="unfinished">Volumen vereinen</translation>
    </message>
</context>
<context>
    <name>scene.chosen_nodes</name>
    <message>
        <source>All frames of a sequence become a new sequence. Choose no output volume and no output segmentation, or reconstruct the frame that is shown alone.</source>
        <translation type="unfinished">Alle Bilder einer Sequenz werden zu einer neuen Sequenz. Wählen Sie für die Ausgabe weder Volumen noch Segmentierung, oder rekonstruieren Sie nur das gezeigte Bild.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is an input, which is never changed. Choose another node for the output, or none, so that a new one is made.</source>
        <translation type="unfinished">&apos;{name}&apos; ist ein Eingang, der nie verändert wird. Wählen Sie für die Ausgabe etwas anderes oder nichts, so dass Neues angelegt wird.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; cannot take the output: it is a {kind}. Choose a scalar volume for the volume, and a segmentation for the segmentation.</source>
        <translation type="unfinished">&apos;{name}&apos; kann die Ausgabe nicht aufnehmen: Es ist {kind}. Wählen Sie für das Volumen ein skalares Volumen, und für die Segmentierung eine Segmentierung.</translation>
    </message>
    <message>
        <source>There is no segmentation to be filled, so nothing would come into &apos;{name}&apos;. Choose one as input, or no output segmentation.</source>
        <translation type="unfinished">Es gibt keine Segmentierung zu füllen, so dass nichts in &apos;{name}&apos; käme. Wählen Sie eine als Eingang, oder keine für die Ausgabe.</translation>
    </message>
</context>
<context>
    <name>scene.further_volumes</name>
    <message>
        <source>&apos;{name}&apos; lies under a transform against &apos;{first}&apos; that is not linear. Take it out of that transform, put both under it, or harden it: in the Data module, right-click and &apos;Harden transform&apos;.</source>
        <translation type="unfinished">&apos;{name}&apos; liegt unter einer Transformation gegen &apos;{first}&apos;, die nicht linear ist. Nehmen Sie es dort heraus, legen Sie beide darunter, oder härten Sie sie: im Modul Data mit der rechten Maustaste und &apos;Harden transform&apos;.</translation>
    </message>
</context>
<context>
    <name>scene.nodes</name>
    <message>
        <source>&apos;{name}&apos; is not a segmentation. Convert it to one: right-click it in the Data module, for a label map &apos;Convert labelmap to segmentation node&apos;.</source>
        <translation type="unfinished">&apos;{name}&apos; ist keine Segmentierung. Wandeln Sie es um: im Modul Data mit der rechten Maustaste, bei einer Labelmap &apos;Convert labelmap to segmentation node&apos;.</translation>
    </message>
    <message>
        <source>The segmentation &apos;{name}&apos; has no segment with the id &apos;{segment}&apos;. Its segments are {known}.</source>
        <translation type="unfinished">Die Segmentierung &apos;{name}&apos; hat kein Segment mit der ID &apos;{segment}&apos;. Ihre Segmente sind {known}.</translation>
    </message>
    <message>
        <source>none</source>
        <translation type="unfinished">keine</translation>
    </message>
    <message>
        <source>No segment of &apos;{name}&apos; is chosen. Choose at least one, or leave the segmentation out.</source>
        <translation type="unfinished">Kein Segment von &apos;{name}&apos; ist gewählt. Wählen Sie mindestens eines, oder lassen Sie die Segmentierung weg.</translation>
    </message>
    <message>
        <source>None of the chosen segments of &apos;{name}&apos; has a voxel in the volume. Choose the segmentation that belongs to it, or segment at least two slices.</source>
        <translation type="unfinished">Keines der gewählten Segmente von &apos;{name}&apos; hat ein Voxel im Volumen. Wählen Sie die Segmentierung, die dazu gehört, oder segmentieren Sie mindestens zwei Schichten.</translation>
    </message>
    <message>
        <source>The segmentation lies on other voxels than the volume and was resampled to them.</source>
        <translation type="unfinished">Die Segmentierung liegt auf anderen Voxeln als das Volumen und wurde auf dessen Voxel umgerechnet.</translation>
    </message>
    <message>
        <source>Without a voxel in the volume, and so left out: {segments}.</source>
        <translation type="unfinished">Ohne ein Voxel im Volumen und daher weggelassen: {segments}.</translation>
    </message>
    <message>
        <source>There is no volume. Choose one.</source>
        <translation type="unfinished">Es gibt kein Volumen. Wählen Sie eines.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is a label map, not an image. Choose an image as the volume; give the labels as a segmentation: in the Data module, right-click and &apos;Convert labelmap to segmentation node&apos;.</source>
        <translation type="unfinished">&apos;{name}&apos; ist eine Labelmap, kein Bild. Wählen Sie ein Bild als Volumen; geben Sie die Label als Segmentierung an: im Modul Data mit der rechten Maustaste und &apos;Convert labelmap to segmentation node&apos;.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is not a scalar volume. Choose a volume with one value a voxel.</source>
        <translation type="unfinished">&apos;{name}&apos; ist kein skalares Volumen. Wählen Sie ein Volumen mit einem Wert je Voxel.</translation>
    </message>
    <message>
        <source>The volume &apos;{name}&apos; has no voxels. Load its image, or choose another volume.</source>
        <translation type="unfinished">Das Volumen &apos;{name}&apos; hat keine Voxel. Laden Sie sein Bild, oder wählen Sie ein anderes Volumen.</translation>
    </message>
    <message>
        <source>The volume &apos;{name}&apos; has {number} values a voxel: it is in colour, or holds vectors or several frames. Make a scalar volume of it with the module &apos;Vector to Scalar Volume&apos;, or load its frames as a sequence.</source>
        <translation type="unfinished">Das Volumen &apos;{name}&apos; hat {number} Werte je Voxel: Es ist farbig oder enthält Vektoren oder mehrere Bilder. Machen Sie mit dem Modul &apos;Vector to Scalar Volume&apos; ein skalares Volumen daraus, oder laden Sie seine Bilder als Sequenz.</translation>
    </message>
</context>
<context>
    <name>scene.region</name>
    <message>
        <source>The region &apos;{name}&apos; has no size yet. Draw it in a view, or choose another one.</source>
        <translation type="unfinished">Der Bereich &apos;{name}&apos; hat noch keine Größe. Zeichnen Sie ihn in einer Ansicht, oder wählen Sie einen anderen.</translation>
    </message>
</context>
<context>
    <name>scene.sample_data</name>
    <message>
        <source>There is no sample &apos;{name}&apos;. Choose one of {known}.</source>
        <translation type="unfinished">Es gibt kein Beispiel &apos;{name}&apos;. Wählen Sie eines aus {known}.</translation>
    </message>
    <message>
        <source>The sample &apos;{name}&apos; could not be loaded. It is downloaded from {address}: connect to the internet and try again; the reason stands in the Python console.</source>
        <translation type="unfinished">Das Beispiel &apos;{name}&apos; konnte nicht geladen werden. Es wird von {address} heruntergeladen: Verbinden Sie sich mit dem Internet, und versuchen Sie es noch einmal; der Grund steht in der Python-Konsole.</translation>
    </message>
</context>
</TS>
