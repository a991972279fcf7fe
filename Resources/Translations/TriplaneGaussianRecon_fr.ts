<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="fr_FR">
<context>
    <name>SegmentEditorEffect</name>
    <message>
        <source>Fill by image</source>
        <translation type="unfinished">Remplir selon l&apos;image</translation>
    </message>
    <message>
        <source>Fill segments between slices, guided by the image&lt;br&gt;. Instructions: &lt;p&gt;&lt;ul&gt;&lt;li&gt;Draw every segment on some slices, every eighth say, from where it begins to where it ends.&lt;li&gt;Press &lt;b&gt;Fill&lt;/b&gt;. All visible segments are filled. Look at the preview, and at the certainty.&lt;li&gt;Press &lt;b&gt;Draw slice ... next&lt;/b&gt;, draw there with any other effect, come back and fill again: that takes seconds. When content, press &lt;b&gt;Apply&lt;/b&gt;.&lt;/ul&gt;Slices on which nothing is drawn between drawn ones are filled. Masking settings are ignored.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>TriplaneGaussianRecon</name>
    <message>
        <source>Inputs</source>
        <translation type="unfinished">Entrées</translation>
    </message>
    <message>
        <source>Input volume:</source>
        <translation type="unfinished">Volume d&apos;entrée :</translation>
    </message>
    <message>
        <source>The scan whose slices are sparse, thick or partly unusable. It is not changed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>vtkMRMLScalarVolumeNode</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose a volume</source>
        <translation type="unfinished">Choisir un volume</translation>
    </message>
    <message>
        <source>Try it</source>
        <translation type="unfinished">Essayer</translation>
    </message>
    <message>
        <source>Load a sample scan and fill in the panel.</source>
        <translation type="unfinished">Charge un examen d&apos;exemple et remplit le panneau.</translation>
    </message>
    <message>
        <source>What to do:</source>
        <translation type="unfinished">Tâche :</translation>
    </message>
    <message>
        <source>What the volume needs. It follows what you choose below, until you choose here. The panel shows what belongs to it; other choices have no effect.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Segmentation:</source>
        <translation type="unfinished">Segmentation :</translation>
    </message>
    <message>
        <source>Optional. Its segments are filled in on the slices on which they are not drawn yet, and between the used slices. It is not changed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>vtkMRMLSegmentationNode</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>None</source>
        <translation type="unfinished">Aucune</translation>
    </message>
    <message>
        <source>Segments:</source>
        <translation type="unfinished">Segments :</translation>
    </message>
    <message>
        <source>Only the checked segments are filled in.</source>
        <translation type="unfinished">Seuls les segments cochés sont complétés.</translation>
    </message>
    <message>
        <source>All frames of the sequence</source>
        <translation type="unfinished">Toutes les images de la séquence</translation>
    </message>
    <message>
        <source>Reconstruct every frame of the sequence that the volume shows, one after another. Otherwise only the frame that is shown.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Further volumes of the same body</source>
        <translation type="unfinished">Autres volumes du même corps</translation>
    </message>
    <message>
        <source>Volumes:</source>
        <translation type="unfinished">Volumes :</translation>
    </message>
    <message>
        <source>Check other scans of the same body, such as thick slices in other directions. Each is taken where its transforms put it, with the slices along its axis of the largest spacing. They are not changed. Click on a name for what is used of it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Excluded slices:</source>
        <translation type="unfinished">Coupes exclues :</translation>
    </message>
    <message>
        <source>Slices of this volume that are not used, such as 0,1,5-7. Numbers count from 0.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>none</source>
        <translation type="unfinished">aucune</translation>
    </message>
    <message>
        <source>Optional: what is drawn on slices of this volume. All of its segments take part; those of equal name are the same in all volumes. It is not changed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Find motion</source>
        <translation type="unfinished">Déterminer le mouvement</translation>
    </message>
    <message>
        <source>Find how each further volume lies to the input volume, and how their grey values compare. The result is left as a transform for each. Otherwise they are taken as they lie.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slice thickness (mm):</source>
        <translation type="unfinished">Épaisseur de coupe (mm) :</translation>
    </message>
    <message>
        <source>Over how many mm a slice averages: one number for all volumes, or one for each with commas between them, the input volume first, such as 4,3.5,0. Empty or 0 for the distance of the slices.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slice distance</source>
        <translation type="unfinished">Distance entre coupes</translation>
    </message>
    <message>
        <source>Slice profile:</source>
        <translation type="unfinished">Profil de coupe :</translation>
    </message>
    <message>
        <source>How a slice averages: most MR is about Gaussian (the thickness is the full width at half maximum), averaged CT slices are boxes.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slices</source>
        <translation type="unfinished">Coupes</translation>
    </message>
    <message>
        <source>Slice axis:</source>
        <translation type="unfinished">Axe des coupes :</translation>
    </message>
    <message>
        <source>Across which axis of the volume the slices lie, between which something is missing.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slices to use:</source>
        <translation type="unfinished">Coupes à utiliser :</translation>
    </message>
    <message>
        <source>Which slices the result is made from. Whatever is on the others, their image too, is not looked at. To fill a segmentation that is drawn on some slices, use all.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>2 uses slices 0, 2, 4 and so on.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>N = </source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>So many slices are used, spread evenly, the first and the last among them.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source> %</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slice numbers, counted from 0.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>0,4,8-20</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slices that are not used, damaged ones for example. Slice numbers, counted from 0.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Exclude current slice</source>
        <translation type="unfinished">Exclure la coupe affichée</translation>
    </message>
    <message>
        <source>Exclude the slice that the slice view shows.</source>
        <translation type="unfinished">Exclut la coupe que montre la vue.</translation>
    </message>
    <message>
        <source>Labels from:</source>
        <translation type="unfinished">Étiquettes de :</translation>
    </message>
    <message>
        <source>On which slices the segmentation is complete; on the others it is filled from their image. Drawn slices: those on which a chosen segment is drawn. Slices far from these count as empty, those between them as not drawn yet. A further run goes on from what the last one learnt; with another preset, other segments or another seed it starts anew.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slice numbers, counted from 0. One in the list on which nothing is drawn is empty.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>0,8,16</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Empty slices:</source>
        <translation type="unfinished">Coupes vides :</translation>
    </message>
    <message>
        <source>Slices on which there truly is nothing to draw, so that nothing is filled there: 40,48-50 for example. Those far from drawn slices count as empty anyway. Slice numbers, counted from 0.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Current slice is empty</source>
        <translation type="unfinished">La coupe affichée est vide</translation>
    </message>
    <message>
        <source>Nothing is to be filled on the slice that the slice view shows.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Output</source>
        <translation type="unfinished">Sortie</translation>
    </message>
    <message>
        <source>Slice spacing:</source>
        <translation type="unfinished">Espacement des coupes :</translation>
    </message>
    <message>
        <source>Distance between the slices of the result. Automatic: as in the input; if all slices are used and carry labels, as fine as the pixels.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source> mm</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Automatic</source>
        <translation type="unfinished">Automatique</translation>
    </message>
    <message>
        <source>Quality:</source>
        <translation type="unfinished">Qualité :</translation>
    </message>
    <message>
        <source>Compute on:</source>
        <translation type="unfinished">Calculer sur :</translation>
    </message>
    <message>
        <source>Automatic takes the first graphics card that works, otherwise the processor (CPU).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Advanced</source>
        <translation type="unfinished">Avancé</translation>
    </message>
    <message>
        <source>Parameter set:</source>
        <translation type="unfinished">Jeu de paramètres :</translation>
    </message>
    <message>
        <source>Several sets of the choices on this panel can be kept in a scene.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>vtkMRMLScriptedModuleNode</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>TriplaneGaussianRecon</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Seed:</source>
        <translation type="unfinished">Graine :</translation>
    </message>
    <message>
        <source>The same seed gives the same result, but for labels that go on from what the last run learnt. Another seed lets them be learnt anew.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Memory:</source>
        <translation type="unfinished">Mémoire :</translation>
    </message>
    <message>
        <source>How much memory of this computer the computing may take at its peak. With less, large volumes are done in parts, which takes a little longer and changes nothing else; several volumes are not done in parts and need it all. Automatic takes what is free. That of a graphics card is its own.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source> GB</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Threads:</source>
        <translation type="unfinished">Fils :</translation>
    </message>
    <message>
        <source>How many threads the computing may use. Fewer leave more of the processor to other programs, and take longer. The result is the same. Automatic takes as many as the processor has.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Keep model:</source>
        <translation type="unfinished">Garder le modèle :</translation>
    </message>
    <message>
        <source>to draw any plane of it, and to export it</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Keep the model file. It takes as much disk space as some copies of the volume.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Even texture:</source>
        <translation type="unfinished">Texture uniforme :</translation>
    </message>
    <message>
        <source>for looking, not for measuring</source>
        <translation type="unfinished">pour regarder, pas pour mesurer</translation>
    </message>
    <message>
        <source>Filled slices have less noise than used ones, so that scrolling flickers. Check this to add the noise that they lack. Each voxel is then further from the truth: leave it unchecked for measurements and for programs.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Copy volume:</source>
        <translation type="unfinished">Copier le volume :</translation>
    </message>
    <message>
        <source>even if labels alone are filled</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Where the image is known on all slices of the result, only segmentation and certainty are added to the scene. Check this to get a copy of the volume as well.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Reconstruct</source>
        <translation type="unfinished">Reconstruire</translation>
    </message>
    <message>
        <source>The slice in the middle of the result, as far as it is known.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Copy log</source>
        <translation type="unfinished">Copier le journal</translation>
    </message>
    <message>
        <source>Copy what went wrong, the versions, your choices and the last lines of the log, to send when you ask for help. Look it through before: the second line may name a volume.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Results</source>
        <translation type="unfinished">Résultats</translation>
    </message>
    <message>
        <source>Show before</source>
        <translation type="unfinished">Montrer avant</translation>
    </message>
    <message>
        <source>Show what the result was made from in its place, and back again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Show the filled segmentation in the 3D view.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Compare</source>
        <translation type="unfinished">Comparer</translation>
    </message>
    <message>
        <source>Show input, result and expected error side by side, linked.</source>
        <translation type="unfinished">Montre l&apos;entrée, le résultat et l&apos;erreur attendue côte à côte, liés.</translation>
    </message>
    <message>
        <source>Table</source>
        <translation type="unfinished">Tableau</translation>
    </message>
    <message>
        <source>Show a table of all slices: how well those that were hidden came out, and the mean expected error.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Plot</source>
        <translation type="unfinished">Graphique</translation>
    </message>
    <message>
        <source>Plot the mean expected error of each slice; where labels alone were filled, how many of them are in doubt.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Draw next slice</source>
        <translation type="unfinished">Dessiner la coupe suivante</translation>
    </message>
    <message>
        <source>Show the slice on which drawing would help most; then the button offers the second best, and so on. Reconstructing again goes on from what was learnt, and takes less time.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Montrer la certitude</translation>
    </message>
    <message>
        <source>Show where labels are in doubt, half transparent over the image: red where they are as likely wrong as right.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Render plane</source>
        <translation type="unfinished">Dessiner un plan</translation>
    </message>
    <message>
        <source>Draw the plane of the first slice view from the model, without any voxels in between.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Export model...</source>
        <translation type="unfinished">Exporter le modèle...</translation>
    </message>
    <message>
        <source>Save the model as a file.</source>
        <translation type="unfinished">Enregistre le modèle dans un fichier.</translation>
    </message>
    <message>
        <source>Research software, not a medical device. Not for diagnosis or treatment.</source>
        <translation type="unfinished">Logiciel de recherche, pas un dispositif médical. Ni pour le diagnostic ni pour le traitement.</translation>
    </message>
    <message>
        <source>Triplane Gaussian Reconstruction</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Turns sparse, thick or partly unusable slices into a dense volume and a dense segmentation, and says how far to trust them. For ultrasound, MR and CT. Choose a volume, say which of its slices to use, and press Reconstruct.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Guide: a first try, and every control</source>
        <translation type="unfinished">Guide : un premier essai, et chaque commande</translation>
    </message>
    <message>
        <source>Research software, not a medical device. Not for diagnosis or treatment. Apache License, Version 2.0.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>How to cite it, and the method that it builds on</source>
        <translation type="unfinished">Comment le citer, et la méthode sur laquelle il repose</translation>
    </message>
</context>
<context>
    <name>TriplaneGaussianReconModule.wording</name>
    <message>
        <source>{number} s</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{number} min</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{number} h</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{number} GB</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>use the module PyTorch Utils, as the guide explains</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stage {number} of {count}: {sentence}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>sagittal</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>coronal</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>axial</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>right</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>left</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>anterior</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>posterior</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>inferior</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>superior</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Axis {axis}: {count} {plane} slices, {spacing} mm apart, from {first} to {last}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Axis {axis}: {count} {plane} slices (oblique), {spacing} mm apart, from {first} to {last}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{observed} of {count} slices are used: {listed}. Widest gap: {gap} mm.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No chosen segment is drawn on a slice that is used and carries labels.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Labels from {count} drawn slices ({listed})</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Labels from {count} drawn slice ({listed})</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} are filled from the image</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} is filled from the image</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} count as empty</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{count} counts as empty</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Replaces {missing} of {count} slices.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Makes {missing} of {count} slices from the others.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Makes {old} mm slices {new} mm.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Fills the segmentation on {filled} slices, from {drawn} that are drawn on.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Changes nothing yet: every slice is used, and the result has the voxels of the input.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Makes one volume of {count}, with cubic voxels.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>nearest drawn slice</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>shapes between drawn slices</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>carried along the image</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>learnt from this scan</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Too few slices are drawn on to hide one and check.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slices that were hidden came out with Dice {dice}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Started from what the last run learnt.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>How labels were filled: {methods}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Result: {shape} voxels of {spacing} mm.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&apos;{name}&apos; was turned by {angle} degrees, and its middle moved by {shift} mm, to fit &apos;{first}&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Result: cubic voxels about all volumes, as small as the smallest pixel.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Result: cubic voxels of {side} mm about all volumes.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Will take about {time} on this computer, and {memory} of memory.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Will take {time} at most on this computer, and {memory} of memory.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>May take {time} on this computer, and {memory} of memory; this is a guess.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Will take about {time} on this computer, and {memory} of memory on the graphics card.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Too few slices were used to hide one and check. So the expected error was not learnt: it is how far simple methods disagree, and errors may be many times as large.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{apart} linear interpolation between slices.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{apart} the best usual method ({name})</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>PSNR {psnr} dB</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Checked on {count} slices, each hidden and predicted across twice the real gap: {scores}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The expected error says little about where the errors are (rank correlation {number}): trust its size, not its pattern.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>as good as</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{gain} dB better than</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{gain} dB worse than</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{share} % of the range</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Expected error: {amount} (median in the body).</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>effect.filling</name>
    <message>
        <source>Choose a segmentation and a source volume first.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>There is nothing to fill: no slice without labels lies between drawn ones.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} (preview)</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>effect.options</name>
    <message>
        <source>Fill</source>
        <translation type="unfinished">Remplir</translation>
    </message>
    <message>
        <source>Fill all visible segments between the slices on which they are drawn, guided by the image.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Show the slice on which drawing would help most.</source>
        <translation type="unfinished">Montre la coupe où dessiner aiderait le plus.</translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Montrer la certitude</translation>
    </message>
    <message>
        <source>Lay over the image how certain the labels are: red where they are as likely wrong as right.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Apply</source>
        <translation type="unfinished">Appliquer</translation>
    </message>
    <message>
        <source>Put the preview into the segmentation.</source>
        <translation type="unfinished">Met l&apos;aperçu dans la segmentation.</translation>
    </message>
    <message>
        <source>Discard</source>
        <translation type="unfinished">Abandonner</translation>
    </message>
    <message>
        <source>Remove the preview.</source>
        <translation type="unfinished">Retire l&apos;aperçu.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Annuler</translation>
    </message>
    <message>
        <source>Fill again</source>
        <translation type="unfinished">Remplir à nouveau</translation>
    </message>
    <message>
        <source>Hide certainty</source>
        <translation type="unfinished">Masquer la certitude</translation>
    </message>
    <message>
        <source>The preview is shown half transparent. Apply it, or draw one more slice and fill again.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>installation.commands</name>
    <message>
        <source>{doing}: {received} of {total} MB</source>
        <translation type="unfinished">{doing} : {received} sur {total} Mo</translation>
    </message>
</context>
<context>
    <name>installation.dependencies</name>
    <message>
        <source>This 3D Slicer is built for Macs with an Intel processor, and also runs as such on newer Macs. There is no PyTorch for them any more: the last one was 2.2, and 2.11 is needed. Nothing was downloaded. Use a 3D Slicer that is built for Apple processors (arm64), another computer, or, on a newer Mac, the command line of this project without Slicer.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Python packages are missing, and nobody can be asked: {packages}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>This computer has an NVIDIA GPU, but the installed torch was built for the CPU alone, so that the CPU computes. To use the GPU, open the module PyTorch Utils, uninstall torch, restart Slicer, and install it with a computation backend that starts with &apos;cu&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The installed torch was built for CUDA {version}, but no NVIDIA driver was found, so that the CPU computes. If this computer has an NVIDIA GPU, install its driver.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>installation.dialog</name>
    <message>
        <source>Triplane Gaussian Reconstruction: Python packages</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Install</source>
        <translation type="unfinished">Installer</translation>
    </message>
    <message>
        <source>Copy log</source>
        <translation type="unfinished">Copier le journal</translation>
    </message>
    <message>
        <source>Restart Slicer</source>
        <translation type="unfinished">Redémarrer Slicer</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Annuler</translation>
    </message>
    <message>
        <source>Close</source>
        <translation type="unfinished">Fermer</translation>
    </message>
    <message>
        <source>A reconstruction needs Python packages that are not installed yet. They are downloaded into Slicer&apos;s own Python; other extensions may use them too. Nothing is sent.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Install them now?</source>
        <translation type="unfinished">Les installer maintenant ?</translation>
    </message>
    <message>
        <source>Everything is installed.</source>
        <translation type="unfinished">Tout est installé.</translation>
    </message>
    <message>
        <source>These packages were in use and have changed: {packages}. Restart Slicer before you go on with other modules.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Later</source>
        <translation type="unfinished">Plus tard</translation>
    </message>
    <message>
        <source>Installing failed. {reason}</source>
        <translation type="unfinished">L&apos;installation a échoué. {reason}</translation>
    </message>
    <message>
        <source>Go on</source>
        <translation type="unfinished">Continuer</translation>
    </message>
    <message>
        <source>Try again</source>
        <translation type="unfinished">Réessayer</translation>
    </message>
</context>
<context>
    <name>installation.installation</name>
    <message>
        <source>Finding out what is needed</source>
        <translation type="unfinished">Recherche de ce qui est nécessaire</translation>
    </message>
    <message>
        <source>Downloading {name} ({number} of {count})</source>
        <translation type="unfinished">Téléchargement de {name} ({number} sur {count})</translation>
    </message>
    <message>
        <source>Installing {count} packages</source>
        <translation type="unfinished">Installation de {count} paquets</translation>
    </message>
    <message>
        <source>Cancelled. What has been downloaded is kept for the next try.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Still missing: {packages}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The extension PyTorch is needed. Install it in the Extensions Manager, restart Slicer and try again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slicer is installing packages for another module. Wait until it is done, and try again.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>installation.remedies</name>
    <message>
        <source>The log says why; its last lines are the most telling ones.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The pip in Slicer&apos;s Python is too old. In the Python console, type slicer.util.pip_install(&apos;--upgrade pip&apos;), restart Slicer and try again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A file was changed or withheld on its way, as antivirus programs and some proxies do. Let the antivirus program except Slicer&apos;s folder, or ask who looks after this computer; then try again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A path is too long for Windows. Install Slicer into a folder with a short path, or allow long paths in Windows.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The disk is full: make room and try again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Files are in use or may not be written. Restart Slicer, close its other windows, and try this before anything else; Slicer has to be in a folder that you may write to.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The proxy refused the connection. Set the environment variable HTTPS_PROXY to http://user:password@host:port before Slicer is started.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A certificate was not accepted, as happens behind proxies that look into connections. Set the environment variable PIP_CERT to the file of your organisation&apos;s certificates before Slicer is started.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The internet could not be reached. Connect and try again; behind a proxy, set the environment variable HTTPS_PROXY to http://host:port before Slicer is started.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>An earlier installation was broken off. In Slicer&apos;s folder lib/Python/Lib/site-packages, delete what that package left there (for torch: the folders whose names start with &apos;torch-&apos; or &apos;~orch&apos;), and try again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No version fits what is installed. A newer Slicer may help; or uninstall the conflicting package, which the log names, if another extension brought it.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>There is no version of a package for this Slicer&apos;s Python and this system; the log names it. If you are behind a proxy or a mirror of PyPI, it may be that this lacks the package. Otherwise a newer Slicer may help.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>panel.before_after</name>
    <message>
        <source>Show before</source>
        <translation type="unfinished">Montrer avant</translation>
    </message>
    <message>
        <source>Show after</source>
        <translation type="unfinished">Montrer après</translation>
    </message>
</context>
<context>
    <name>panel.device_choice</name>
    <message>
        <source>Automatic</source>
        <translation type="unfinished">Automatique</translation>
    </message>
    <message>
        <source>Looking for graphics cards...</source>
        <translation type="unfinished">Recherche de cartes graphiques...</translation>
    </message>
    <message>
        <source>This computer has no device {device}. Choose another one.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>What there is to compute on will be known once the Python packages are installed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Computed on the processor. {reason}</source>
        <translation type="unfinished">Calculé sur le processeur. {reason}</translation>
    </message>
    <message>
        <source>CPU</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{kind}: {name}, {memory}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>panel.further_settings</name>
    <message>
        <source>Of &apos;{name}&apos;:</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Of &apos;{name}&apos;, which is not used unless checked:</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>panel.further_volumes</name>
    <message>
        <source>Without slices {slices}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Labels: &apos;{name}&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&apos;{name}&apos;: {meaning}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>panel.next_slice</name>
    <message>
        <source>Draw slice {index} next</source>
        <translation type="unfinished">Dessiner ensuite la coupe {index}</translation>
    </message>
    <message>
        <source>The view {view} shows slice {index}. Draw on it in the Segment Editor, then reconstruct again.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>panel.plane_drawing</name>
    <message>
        <source>The plane could not be drawn.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The result was removed meanwhile.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The plane could not be read.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} plane</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>panel.progress_view</name>
    <message>
        <source>Starting...</source>
        <translation type="unfinished">Démarrage...</translation>
    </message>
    <message>
        <source>{stage}, {time} left</source>
        <translation type="unfinished">{stage}, reste {time}</translation>
    </message>
    <message>
        <source>Cancelling...</source>
        <translation type="unfinished">Annulation...</translation>
    </message>
</context>
<context>
    <name>panel.quality_choice</name>
    <message>
        <source>{quality}: about {time}</source>
        <translation type="unfinished">{quality} : environ {time}</translation>
    </message>
    <message>
        <source>{quality}: about {time}, as a guess</source>
        <translation type="unfinished">{quality} : environ {time}, au jugé</translation>
    </message>
</context>
<context>
    <name>panel.results_view</name>
    <message>
        <source>Nothing has been reconstructed yet.</source>
        <translation type="unfinished">Rien n&apos;a encore été reconstruit.</translation>
    </message>
    <message>
        <source>There is no result yet.</source>
        <translation type="unfinished">Il n&apos;y a pas encore de résultat.</translation>
    </message>
    <message>
        <source>There is no volume among the results: labels alone were filled, or it was removed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The input volume or the expected error is not in the scene any more.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The model was not kept. Check &apos;Keep model&apos; under &apos;Advanced&apos; and reconstruct again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The layout has no slice view.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A plane is being drawn.</source>
        <translation type="unfinished">Un plan est en cours de dessin.</translation>
    </message>
    <message>
        <source>Hide certainty</source>
        <translation type="unfinished">Masquer la certitude</translation>
    </message>
    <message>
        <source>Show certainty</source>
        <translation type="unfinished">Montrer la certitude</translation>
    </message>
    <message>
        <source>The model is not there any more. Reconstruct again, and export it before Slicer is closed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The model could not be written to {path}: {reason}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Result of &apos;{volume}&apos; with {others}:</source>
        <translation type="unfinished">Résultat de &apos;{volume}&apos; avec {others} :</translation>
    </message>
    <message>
        <source>Result of &apos;{volume}&apos;:</source>
        <translation type="unfinished">Résultat de &apos;{volume}&apos; :</translation>
    </message>
    <message>
        <source>Expected error: {error} on average, in units of the volume.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Export model</source>
        <translation type="unfinished">Exporter le modèle</translation>
    </message>
    <message>
        <source>Models (*.safetensors)</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>panel.slice_views</name>
    <message>
        <source>The slice view {view} does not show the volume. Scroll to the slice first.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No slice view shows slices along axis {axis}. Choose a layout with such a view.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>panel.task_choice</name>
    <message>
        <source>Segmentation:</source>
        <translation type="unfinished">Segmentation :</translation>
    </message>
    <message>
        <source>Segmentation (optional):</source>
        <translation type="unfinished">Segmentation (facultative) :</translation>
    </message>
</context>
<context>
    <name>panel.views</name>
    <message>
        <source>Labels in doubt on each slice</source>
        <translation type="unfinished">Étiquettes douteuses de chaque coupe</translation>
    </message>
    <message>
        <source>Expected error of each slice</source>
        <translation type="unfinished">Erreur attendue de chaque coupe</translation>
    </message>
    <message>
        <source>Slice of the input</source>
        <translation type="unfinished">Coupe de l&apos;entrée</translation>
    </message>
    <message>
        <source>Voxels in doubt</source>
        <translation type="unfinished">Voxels douteux</translation>
    </message>
    <message>
        <source>Expected error</source>
        <translation type="unfinished">Erreur attendue</translation>
    </message>
    <message>
        <source>Input</source>
        <translation type="unfinished">Entrée</translation>
    </message>
    <message>
        <source>Result</source>
        <translation type="unfinished">Résultat</translation>
    </message>
    <message>
        <source>Error</source>
        <translation type="unfinished">Erreur</translation>
    </message>
</context>
<context>
    <name>panel.widget</name>
    <message>
        <source>Choose an input volume first.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Check at least one segment, or choose no segmentation.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The slices on which a chosen segment has a voxel.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Reconstruct</source>
        <translation type="unfinished">Reconstruire</translation>
    </message>
    <message>
        <source>A reconstruction that was started elsewhere, such as in the Python console, is running. Wait until it is done.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Fill in what is missing between the used slices.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Cancelling...</source>
        <translation type="unfinished">Annulation...</translation>
    </message>
    <message>
        <source>It ends within two seconds.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation type="unfinished">Annuler</translation>
    </message>
    <message>
        <source>Stop. The scene stays as it is.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Python packages are missing, without which nothing can be reconstructed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Done in {time}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Cancelled. The scene is as it was.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slice {index}, which the view {view} shows, is excluded.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slice {index}, which the view {view} shows, is complete as it is.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} is loaded, of which every third slice is used. Press Reconstruct.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The plane is shown, and was added as &apos;{name}&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Reconstruction: {text}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>qSlicerAbstractCoreModule</name>
    <message>
        <source>Tomographic Reconstruction</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.further_settings</name>
    <message>
        <source>Of a further volume there is no choice &apos;{name}&apos;. Choose of {known}.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.logic</name>
    <message>
        <source>The module was closed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A reconstruction is running already. Wait until it is done, or cancel it.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.parameters</name>
    <message>
        <source>Automatic (thickest slices)</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>I (columns)</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>J (rows)</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>K (slices)</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>All slices</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Every Nth slice</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A percentage</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Slices that carry segmentation</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>A list of slices</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Drawn slices</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Fast</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Better</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Best</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Gaussian</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Box</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.process</name>
    <message>
        <source>A job is running already. Cancel it, or wait until it has ended.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The system ended the process, most likely because memory ran out. Close other programs, crop the volume, or choose a larger slice spacing or the quality Fast.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The process ended before it was done (exit code {code}). Often memory has run out: close other programs, or crop the volume. The details may tell more.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.python_process</name>
    <message>
        <source>{name}, which belongs to 3D Slicer, was not found. Install 3D Slicer again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Python could not be started: {reason}. Close other programs, or install 3D Slicer again.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The process crashed. Choose another device, or crop the volume; the details may tell why.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.reconstruction</name>
    <message>
        <source>The reconstruction was cancelled.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Frame {number} (counted from 0): {cause}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The input was modified while it was being reconstructed: the result belongs to the state in which it was before.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&apos;{name}&apos; was removed from the scene before the reconstruction was done, so there is no result.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The scene was closed before the reconstruction was done, so there is no result.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Nothing can be written to the folder for temporary files &apos;{folder}&apos;: {cause}. Choose another one in the application settings.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.request</name>
    <message>
        <source>Cannot read the slices {slices}. Write their numbers, such as [0, 4, 8] or range(0, 20, 4), or a text such as &apos;0,4,8-20&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave it to the program, not {spacing}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The seed must be a whole number such as 1, not {seed}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The memory that may be used must be a number of GB such as 6, or 0 for what is free, not {memory}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The number of threads must be a whole number such as 4, or 0 for as many as there are, not {threads}.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.several</name>
    <message>
        <source>&apos;{name}&apos; is given twice. Choose other further volumes.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&apos;{name}&apos; shows a sequence. Several volumes are reconstructed only where each is a single one: choose a copy of a frame.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Unknown slice profile &apos;{profile}&apos;. Choose one of {known}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>An even texture does not go with further volumes. Uncheck one of both.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave it to the program, not {spacing}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&apos;{name}&apos;: {cause}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Cannot read the slice thickness &apos;{thickness}&apos;. Give one number of millimetres for all volumes, or {count} with commas between them, one for each; 0 for the slice distance.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>run.task</name>
    <message>
        <source>Make slices thinner</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Replace bad slices</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Fill a segmentation</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Combine volumes</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose the segmentation that is to be filled.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Check at least one further volume of the same body.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Say which slices are bad: show each in a slice view and press &apos;Exclude current slice&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>scene.further_volumes</name>
    <message>
        <source>&apos;{name}&apos; lies under a transform against &apos;{first}&apos; that is not linear. Take it out of that transform, put both under it, or harden it: in the Data module, right-click and &apos;Harden transform&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>scene.nodes</name>
    <message>
        <source>&apos;{name}&apos; is not a segmentation. Convert it to one: right-click it in the Data module, for a label map &apos;Convert labelmap to segmentation node&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The segmentation &apos;{name}&apos; has no segment with the id &apos;{segment}&apos;. Its segments are {known}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>none</source>
        <translation type="unfinished">aucune</translation>
    </message>
    <message>
        <source>No segment of &apos;{name}&apos; is chosen. Choose at least one, or leave the segmentation out.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>None of the chosen segments of &apos;{name}&apos; has a voxel in the volume. Choose the segmentation that belongs to it, or segment at least two slices.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The segmentation lies on other voxels than the volume and was resampled to them.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Without a voxel in the volume, and so left out: {segments}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>There is no volume. Choose one.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is a label map, not an image. Choose an image as the volume; give the labels as a segmentation: in the Data module, right-click and &apos;Convert labelmap to segmentation node&apos;.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is not a scalar volume. Choose a volume with one value a voxel.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The volume &apos;{name}&apos; has no voxels. Load its image, or choose another volume.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The volume &apos;{name}&apos; has {number} values a voxel: it is in colour, or holds vectors or several frames. Make a scalar volume of it with the module &apos;Vector to Scalar Volume&apos;, or load its frames as a sequence.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>scene.sample_data</name>
    <message>
        <source>There is no sample &apos;{name}&apos;. Choose one of {known}.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The sample &apos;{name}&apos; could not be loaded. It is downloaded from {address}: connect to the internet and try again; the reason stands in the Python console.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
</TS>
